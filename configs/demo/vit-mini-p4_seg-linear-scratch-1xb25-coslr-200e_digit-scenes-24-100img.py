"""The baseline of segmentation on 100 scenes: as long, from random weights."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img.py'

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
