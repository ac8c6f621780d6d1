"""Detection and masks on 1,000 labelled scenes, with the pre-trained encoder frozen."""

_base_ = './vit-mini-p4_mask-rcnn-single-scale-1xb4-coslr-25e_digit-scenes-24-100img.py'

model = dict(trainable_blocks=0)
train_dataloader = dict(dataset=dict(source=dict(num_scenes=1000)))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks = dict(checkpoint=dict(interval=3))
