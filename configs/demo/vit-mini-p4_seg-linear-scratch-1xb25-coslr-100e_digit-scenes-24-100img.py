"""The baseline on 100 labelled scenes: as long and the same scenes, random weights."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-100e_digit-scenes-24-100img.py'

base_lr = 0.01
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
