"""ViT-B/16 with 10 % of the labels, the same share of each class."""

_base_ = './vit-base-p16_ft-8xb128-amp-coslr-100e_in1k.py'

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
train_cfg = dict(max_epochs=200, val_interval=10)
