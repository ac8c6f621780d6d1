"""Segmentation on 100 labelled scenes, with the pre-trained encoder frozen."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img.py'

model = dict(trainable_blocks=0)
