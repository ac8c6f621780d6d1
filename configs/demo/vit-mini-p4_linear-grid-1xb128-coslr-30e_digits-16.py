"""Linear probe at five learning rates in one run: which one the probe of digits should take.

    tools/train.py vit-mini-p4_linear-grid-1xb128-coslr-30e_digits-16 --load-from PRETRAINED

Hardware:  2 CPU cores
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
model = dict(head=dict(type='LinearGridHead', lr_scales=[0.03, 0.1, 0.3, 1.0, 3.0]))
val_evaluator = dict(type='GridAccuracy')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=30))
