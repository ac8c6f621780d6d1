"""The baseline on 1,000 labelled scenes: as long and the same scenes, random weights."""

_base_ = './vit-mini-p4_mask-rcnn-vitdet-1xb10-coslr-6e_digit-scenes-24-1000img.py'

base_lr = 0.02
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
