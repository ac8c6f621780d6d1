"""Fine-tuning on 100 labelled digits, 10 a class; all that train the whole network inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/digits_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 1e-2
global_batch_size = 50
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=80, val_interval=80)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=80))
