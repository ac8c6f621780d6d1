"""The baseline of detection and masks on 100 scenes: as long, from random weights."""

_base_ = './vit-mini-p4_mask-rcnn-vitdet-1xb10-coslr-40e_digit-scenes-24-100img.py'

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
