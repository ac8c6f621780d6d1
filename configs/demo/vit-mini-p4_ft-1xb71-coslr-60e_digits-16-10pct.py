"""Fine-tuning on 10 % of the labelled digits: 142, a like share of each class.

    tools/train.py vit-mini-p4_ft-1xb71-coslr-60e_digits-16-10pct --load-from PRETRAINED

Hardware:  2 CPU cores
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/digits_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-3
global_batch_size = 71
train_dataloader = dict(batch_size=71, dataset=dict(source=dict(per_class=None, fraction=0.1)))
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=10)
train_cfg = dict(max_epochs=60, val_interval=60)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=60))
