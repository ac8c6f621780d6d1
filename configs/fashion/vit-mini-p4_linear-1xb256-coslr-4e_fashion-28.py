"""Linear probe of the frozen encoder on all labels; the grid inherits it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/fashion_ft.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

base_lr = 30.0  # the best of a grid on a fifth of the images, from a weak encoder
global_batch_size = 256
model = dict(
    preprocessor=dict(mean=[72.94], std=[90.02]),
    encoder=dict(img_size=28, drop_path_rate=0.0, trainable_pos=False, final_norm=True),
    head=dict(norm='batch', init_std=0.01),
    loss=dict(label_smoothing=0.0),
    trainable_blocks=0,
)
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=0.5)
train_cfg = dict(max_epochs=4, val_interval=4)
