"""ViT-Ti/8 at 96 pixels, fine-tuned; evaluation crops the whole short side."""

_base_ = './vit-tiny-p16_ft-1xb512-amp-coslr-200e_any.py'

model = dict(encoder=dict(img_size=96, patch_size=8))
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ]
    )
)
test_dataloader = val_dataloader
