"""Table 1e: a random crop of a fixed size, and flip."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='DecodeImage'),
            # The paper does not say what precedes the crop: the short side to 256 is our choice.
            dict(type='ResizeShort', crop_pct=0.875),
            dict(type='RandomCrop'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]
    )
)
