"""The baseline of detection on 1,000 scenes: as long, from random weights."""

_base_ = './vit-mini-p4_mask-rcnn-single-scale-1xb4-coslr-25e_digit-scenes-24-100img.py'

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
train_dataloader = dict(dataset=dict(source=dict(num_scenes=1000)))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks = dict(checkpoint=dict(interval=3))
