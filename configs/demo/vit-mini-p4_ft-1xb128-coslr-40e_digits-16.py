"""Fine-tuning on all 1,437 labelled digits."""

_base_ = './vit-mini-p4_ft-1xb50-coslr-80e_digits-16.py'

base_lr = 4e-3
global_batch_size = 128
train_dataloader = dict(
    batch_size=128, dataset=dict(source=dict(_delete_=True, type='Digits', split='train'))
)
param_scheduler = dict(warmup_epochs=5)
train_cfg = dict(max_epochs=40, val_interval=40)
default_hooks = dict(logger=dict(interval=11), checkpoint=dict(interval=40))
