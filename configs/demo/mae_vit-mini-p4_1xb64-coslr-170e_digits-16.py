"""The main job in small: pre-training; the other targets inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/digits_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 8e-3
global_batch_size = 64
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=20)
train_cfg = dict(max_epochs=170)
default_hooks = dict(checkpoint=dict(interval=40))
