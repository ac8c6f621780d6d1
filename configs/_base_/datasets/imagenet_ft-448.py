"""ImageNet-1k for fine-tuning at 448 pixels; evaluation crops the whole short side (ratio 1)."""

_base_ = './imagenet_ft.py'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=[
            dict(type='DecodeRandomResizedCrop', size=448, scale=(0.08, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1'),
            dict(type='PackInputs'),
        ]
    ),
)
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort', size=448),
            dict(type='CenterCrop', size=448),
            dict(type='PackInputs'),
        ]
    ),
)
test_dataloader = val_dataloader
