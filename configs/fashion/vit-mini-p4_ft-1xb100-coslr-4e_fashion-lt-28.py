"""Fine-tuning on a long tail: of T-shirts 6,000, of each class .6 of the one before, 60 boots."""

_base_ = './vit-mini-p4_ft-1xb256-coslr-2e_fashion-28.py'

base_lr = 5e-3
global_batch_size = 100
train_dataloader = dict(
    batch_size=100,
    dataset=dict(
        source=dict(
            _delete_=True,
            type='Subset',
            source=dict(
                type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
            ),
            fraction=1.0,
            imbalance=100,
        )
    ),
)
param_scheduler = dict(warmup_epochs=0.5)
train_cfg = dict(max_epochs=4, val_interval=4)
