"""Segmentation, fine-tuned on 1,000 labelled scenes."""

_base_ = './vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img.py'

train_dataloader = dict(dataset=dict(source=dict(num_scenes=1000)))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))
