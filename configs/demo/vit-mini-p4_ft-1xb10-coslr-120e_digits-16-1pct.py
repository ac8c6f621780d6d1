"""Fine-tuning on 1 % of the labelled digits: 10, one a class."""

_base_ = './vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'

base_lr = 5e-3
global_batch_size = 10
train_dataloader = dict(batch_size=10, dataset=dict(source=dict(per_class=None, fraction=0.01)))
param_scheduler = dict(warmup_epochs=20)
train_cfg = dict(max_epochs=120, val_interval=120)
default_hooks = dict(checkpoint=dict(interval=120))
