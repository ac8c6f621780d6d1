"""Fine-tuning on all 4,000 labels; all that train the whole network inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/crops_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-3
global_batch_size = 100
model = dict(
    preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    encoder=dict(img_size=32, patch_size=8, in_channels=3),
    head=dict(num_classes=40),
)
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=0.5)
train_cfg = dict(max_epochs=4, val_interval=4)
