"""ViT-B/16 without pre-training; the other configs of training from scratch inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_scratch.py',
]

# The paper's table 11 lists no random erasing.
model = dict(encoder=dict(drop_path_rate=0.1), preprocessor=dict(erase=None))
train_dataloader = dict(batch_size=512)
train_cfg = dict(max_epochs=300)
