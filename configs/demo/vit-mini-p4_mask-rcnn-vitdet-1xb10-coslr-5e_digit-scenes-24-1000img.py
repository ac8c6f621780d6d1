"""Detection and masks, fine-tuned on 1,000 labelled scenes."""

_base_ = './vit-mini-p4_mask-rcnn-vitdet-1xb10-coslr-40e_digit-scenes-24-100img.py'

train_dataloader = dict(dataset=dict(source=dict(num_scenes=1000)))
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
