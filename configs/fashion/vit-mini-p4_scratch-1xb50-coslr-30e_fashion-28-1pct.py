"""The baseline of fine-tuning on 1 % of the labels: random weights."""

_base_ = './vit-mini-p4_ft-1xb256-coslr-2e_fashion-28.py'

base_lr = 5e-3
global_batch_size = 50
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=None))
train_dataloader = dict(
    batch_size=50,
    dataset=dict(
        source=dict(
            _delete_=True,
            type='Subset',
            source=dict(
                type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
            ),
            fraction=0.01,
        )
    ),
)
param_scheduler = dict(warmup_epochs=3)
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=30))
