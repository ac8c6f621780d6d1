"""Pre-training on scenes without labels, for `make demo ARGS=--dense`."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/digit_scenes_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 0.008
global_batch_size = 64
model = dict(
    preprocessor=dict(mean=[35.0], std=[71.0]),
    encoder=dict(arch=dict(embed_dim=64, depth=4), img_size=24),
)
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=8)
train_cfg = dict(max_epochs=80)
default_hooks = dict(checkpoint=dict(interval=80))
