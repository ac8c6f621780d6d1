"""Pre-training on the features of a frozen teacher: the encoder that the demo itself pre-trains.

mae zoo convert CHECKPOINT work_dirs/digits-teacher.safetensors --to timm --encoder-only
"""

_base_ = './mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'

model = dict(
    target=dict(
        _delete_=True,
        type='FeatureTarget',
        teacher='vit_tiny_patch16_224',
        checkpoint='work_dirs/digits-teacher.safetensors',
        options=dict(
            img_size=16,
            patch_size=4,
            in_chans=1,
            embed_dim=96,
            depth=6,
            num_heads=4,
            mlp_ratio=2,
        ),
        mean=[78.0],
        std=[96.0],
    )
)
