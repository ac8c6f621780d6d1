"""Detection and masks on 100 labelled scenes, with the pre-trained encoder frozen."""

_base_ = './vit-mini-p4_mask-rcnn-single-scale-1xb4-coslr-25e_digit-scenes-24-100img.py'

model = dict(trainable_blocks=0)
