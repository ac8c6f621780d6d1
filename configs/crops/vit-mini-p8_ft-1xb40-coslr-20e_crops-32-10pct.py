"""Fine-tuning on 10 % of the labels: 400, 10 a photograph."""

_base_ = './vit-mini-p8_ft-1xb100-coslr-4e_crops-32.py'

base_lr = 5.12e-2
global_batch_size = 40
train_dataloader = dict(
    batch_size=40,
    dataset=dict(
        source=dict(
            _delete_=True,
            type='Subset',
            source=dict(type='ImageFolder', root='data/photo-crops', split='train'),
            fraction=0.1,
        )
    ),
)
param_scheduler = dict(warmup_epochs=2)
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=20))
