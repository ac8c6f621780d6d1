"""A small ViT for 24x24 grey images with a linear layer on every patch."""

model = dict(
    type='Segmenter',
    preprocessor=dict(type='DensePreprocessor', mean=[35.0], std=[71.0]),
    encoder=dict(
        type='DenseViTEncoder',
        arch=dict(embed_dim=64, depth=4, num_heads=4),
        mlp_ratio=2.0,
        img_size=24,
        patch_size=4,
        in_channels=1,
        drop_path_rate=0.1,
    ),
    taps=[3],
    head=dict(type='PixelLinearHead', num_classes=11),
    loss=dict(type='PixelCrossEntropyLoss'),
)
