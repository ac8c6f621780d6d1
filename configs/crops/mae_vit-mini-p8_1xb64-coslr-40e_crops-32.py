"""Pre-training on the 4,000 training crops, without their labels."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/crops_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 6e-3
global_batch_size = 64
model = dict(
    preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    encoder=dict(img_size=32, patch_size=8, in_channels=3),
    decoder=dict(depth=2),
    target=dict(norm_pix=True),
)
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=4)
train_cfg = dict(max_epochs=40)
default_hooks = dict(checkpoint=dict(interval=40))
