"""MAE for 16x16 grey images: 6 blocks of width 96 see 4 of 16 patches."""

model = dict(
    type='MAE',
    preprocessor=dict(type='ImagePreprocessor', mean=[78.0], std=[96.0]),
    encoder=dict(
        type='ViTEncoder',
        arch=dict(embed_dim=96, depth=6, num_heads=4),
        mlp_ratio=2.0,
        img_size=16,
        patch_size=4,
        in_channels=1,
    ),
    masker=dict(type='RandomMasker', mask_ratio=0.75),
    decoder=dict(type='TransformerDecoder', embed_dim=64, depth=1, num_heads=4, mlp_ratio=2.0),
    target=dict(type='PixelTarget', norm_pix=False),
    loss=dict(type='MaskedMSELoss'),
)
