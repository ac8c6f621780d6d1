"""The baseline of fine-tuning on all labelled digits: random weights, twice as long."""

_base_ = './vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'

base_lr = 4e-3
global_batch_size = 128
train_dataloader = dict(
    batch_size=128, dataset=dict(source=dict(_delete_=True, type='Digits', split='train'))
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
default_hooks = dict(logger=dict(interval=11))
