"""Table 1e: a centre crop, no flip."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort', crop_pct=0.875),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ]
    )
)
