"""Pre-training on the 60,000 training images, without their labels."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mae_vit-mini-p4.py',
    '../_base_/datasets/fashion_mae.py',
    '../_base_/schedules/adamw_coslr_pretrain.py',
]

base_lr = 4e-3
global_batch_size = 128
model = dict(
    preprocessor=dict(mean=[72.94], std=[90.02]),
    encoder=dict(img_size=28),
    decoder=dict(depth=2),
    target=dict(norm_pix=True),
)
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20)
