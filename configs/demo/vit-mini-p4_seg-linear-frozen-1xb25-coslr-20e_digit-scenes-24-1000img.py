"""Segmentation on 1,000 labelled scenes, with the pre-trained encoder frozen."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-20e_digit-scenes-24-1000img.py'

base_lr = 0.01
model = dict(trainable_blocks=0)
