"""Detection and masks, fine-tuned on 100 labelled scenes; all others inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_det.py',
    '../_base_/datasets/digit_scenes_det.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 0.256
global_batch_size = 4
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=25, val_interval=25)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=25))
