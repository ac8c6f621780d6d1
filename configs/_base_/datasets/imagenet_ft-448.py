"""ImageNet-1k for fine-tuning at 448 pixels; evaluation crops the whole short side (ratio 1)."""

_base_ = './imagenet_ft.py'

train_dataloader = dict(batch_size=32)
val_dataloader = dict(
    batch_size=128,
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ]
    ),
)
test_dataloader = val_dataloader
