"""The baseline of segmentation on 1,000 scenes: as long, from random weights."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img.py'

optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
train_dataloader = dict(dataset=dict(source=dict(num_scenes=1000)))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))
