"""Linear probe of ViT-B/16; the other configs of this folder inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_linear.py',
    '../_base_/datasets/imagenet_ft.py',
    '../_base_/schedules/lars_coslr_linear.py',
]

train_dataloader = dict(
    batch_size=2048,
    dataset=dict(
        pipeline=[
            # drawn once, as the authors do, and not drawn again where it does not fit the image
            dict(type='DecodeRandomResizedCrop', scale=(0.08, 1.0), oversize='clamp'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]
    ),
)
train_cfg = dict(max_epochs=90)
