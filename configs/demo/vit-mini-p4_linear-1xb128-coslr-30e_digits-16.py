"""Linear probe of the frozen encoder on all 1,437 labelled digits.

    tools/train.py vit-mini-p4_linear-1xb128-coslr-30e_digits-16 --load-from PRETRAINED

Hardware:  2 CPU cores
Rate:      the best of vit-mini-p4_linear-grid-1xb128-coslr-30e_digits-16, by validation images
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_linear.py',
    '../_base_/datasets/digits_linear.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

base_lr = 30.0
global_batch_size = 128
optim_wrapper = dict(amp=None)
param_scheduler = dict(warmup_epochs=5)
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=30))
