"""ViT-B/16 with the values of the authors' repository; the fine-tuning configs here inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-4
model = dict(encoder=dict(drop_path_rate=0.1))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.65))
train_cfg = dict(max_epochs=100)
