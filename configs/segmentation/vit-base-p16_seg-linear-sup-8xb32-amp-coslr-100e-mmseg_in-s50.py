"""ImageNet-S-50, linear layer on ViT-B/16 from a classifier, with mmsegmentation's values."""

_base_ = './vit-base-p16_seg-linear-8xb32-amp-coslr-100e_in-s919.py'

source = dict(root='data/imagenet-s50')
base_lr = 1e-4
model = dict(head=dict(num_classes=51), loss=dict(divide_by='all'))
train_dataloader = dict(
    dataset=dict(
        source=source,
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='LoadMap', encoding='rg', ignore_index=1000),
            dict(type='ResizeInside', long_side=1024, short_side=256, ratio_range=(0.5, 2.0)),
            dict(type='ClassBalancedCrop', ignore_index=1000),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotometricDistortion'),
            dict(type='Pad', map_fill=1000),
            dict(type='PackDense'),
        ],
    )
)
val_dataloader = dict(dataset=dict(source=source))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.4))
