"""The baseline of fine-tuning on 10 % of the labels: random weights."""

_base_ = './vit-mini-p4_ft-1xb256-coslr-2e_fashion-28.py'

base_lr = 2.5e-3
global_batch_size = 100
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
train_dataloader = dict(
    batch_size=100,
    dataset=dict(
        source=dict(
            _delete_=True,
            type='Subset',
            source=dict(
                type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
            ),
            fraction=0.1,
        )
    ),
)
param_scheduler = dict(warmup_epochs=1)
train_cfg = dict(max_epochs=6, val_interval=6)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=6))
