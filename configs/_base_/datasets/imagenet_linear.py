"""ImageNet-1k for the linear probe (paper table 10): random crop, drawn once, and flip only."""

_base_ = './imagenet_ft.py'

train_dataloader = dict(
    batch_size=2048,
    dataset=dict(
        pipeline=[
            dict(type='DecodeRandomResizedCrop', scale=(0.08, 1.0), oversize='clamp'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]
    ),
)
