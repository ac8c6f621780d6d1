"""The baseline of detection on 100 scenes: as long, from random weights."""

_base_ = './vit-mini-p4_mask-rcnn-single-scale-1xb4-coslr-25e_digit-scenes-24-100img.py'

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
