"""Fine-tuning on 1 % of the labelled digits: 10, one a class.

    tools/train.py vit-mini-p4_ft-1xb10-coslr-120e_digits-16-1pct --load-from PRETRAINED

Hardware:  2 CPU cores
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-mini-p4_cls.py',
    '../_base_/datasets/digits_ft.py',
    '../_base_/schedules/adamw_coslr_finetune.py',
]

base_lr = 5e-3
global_batch_size = 10
train_dataloader = dict(batch_size=10, dataset=dict(source=dict(per_class=None, fraction=0.01)))
optim_wrapper = dict(amp=None, paramwise_cfg=dict(layer_decay=0.75))
param_scheduler = dict(warmup_epochs=20)
train_cfg = dict(max_epochs=120, val_interval=120)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=120))
