"""ImageNet-S-919, linear layer on ViT-B/16 from a classifier."""

_base_ = './vit-base-p16_seg-linear-8xb32-amp-coslr-100e_in-s919.py'

base_lr = 1e-4
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.4))
