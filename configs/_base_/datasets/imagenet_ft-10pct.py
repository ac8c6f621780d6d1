"""ImageNet-1k for fine-tuning with 10 % of the labels: the same share of each class."""

_base_ = './imagenet_ft.py'

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
