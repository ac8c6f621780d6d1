"""Fine-tuning on 10 % of the labelled digits: 142, a like share of each class."""

_base_ = './vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'

base_lr = 5e-3
global_batch_size = 71
train_dataloader = dict(batch_size=71, dataset=dict(source=dict(per_class=None, fraction=0.1)))
train_cfg = dict(max_epochs=60, val_interval=60)
default_hooks = dict(checkpoint=dict(interval=60))
