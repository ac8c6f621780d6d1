"""The baseline of fine-tuning on all labels: random weights, the same epochs."""

_base_ = './vit-mini-p4_ft-1xb256-coslr-2e_fashion-28.py'

base_lr = 1e-3
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
