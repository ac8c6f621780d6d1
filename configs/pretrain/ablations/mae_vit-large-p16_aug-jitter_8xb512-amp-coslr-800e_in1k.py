"""Table 1e: a crop of a random size, flip and colour jitter."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='DecodeRandomResizedCrop', scale=(0.2, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            # The paper does not say how strong: our choice.
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
            dict(type='PackInputs'),
        ]
    )
)
