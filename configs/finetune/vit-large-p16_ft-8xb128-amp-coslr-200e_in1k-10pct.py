"""ViT-L/16 with 10 % of the labels, the same share of each class."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

base_lr = 1e-3
model = dict(encoder=dict(arch='large', drop_path_rate=0.2))
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='Subset',
            source=dict(type='ImageFolder', root='data/imagenet', split='train'),
            fraction=0.1,
        )
    )
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=200, val_interval=10)
