"""Linear probe of the frozen encoder on all 1,437 labelled digits; the grid inherits it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/digits_linear.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

base_lr = 30.0  # the best of the grid, by validation images
global_batch_size = 128
model = dict(
    encoder=dict(drop_path_rate=0.0, trainable_pos=False, final_norm=True),
    head=dict(norm='batch', init_std=0.01),
    loss=dict(label_smoothing=0.0),
    trainable_blocks=0,
)
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=5)
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=30))
