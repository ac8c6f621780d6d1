"""Detection and masks on 1,000 labelled scenes, with the pre-trained encoder frozen."""

_base_ = './vit-mini-p4_mask-rcnn-vitdet-1xb10-coslr-6e_digit-scenes-24-1000img.py'

base_lr = 0.02
model = dict(trainable_blocks=0)
