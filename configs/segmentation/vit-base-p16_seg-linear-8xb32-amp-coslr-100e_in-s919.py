"""ImageNet-S-919, linear layer on ViT-B/16 from pre-training; the others inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/seg-linear_vit-base-p16.py',
    '../_base_/datasets/imagenet_s.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-4
global_batch_size = 256
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.6))
train_cfg = dict(max_epochs=100, val_interval=10)
