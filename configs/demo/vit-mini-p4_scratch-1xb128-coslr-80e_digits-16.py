"""The rival of fine-tuning on all labelled digits: random weights, twice as long.

    tools/train.py vit-mini-p4_scratch-1xb128-coslr-80e_digits-16

Hardware:  2 CPU cores
"""

_base_ = ['./vit-mini-p4_ft-1xb128-coslr-40e_digits-16.py']

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=80, val_interval=80)
default_hooks = dict(checkpoint=dict(interval=80))
