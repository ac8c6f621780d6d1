"""The encoder of `mae_vit-mini-p4.py` with a head for ten digits."""

model = dict(
    type='Classifier',
    preprocessor=dict(type='ImagePreprocessor', mean=[78.0], std=[96.0]),
    encoder=dict(
        type='ViTEncoder',
        arch=dict(embed_dim=96, depth=6, num_heads=4),
        mlp_ratio=2.0,
        img_size=16,
        patch_size=4,
        in_channels=1,
        drop_path_rate=0.1,
        trainable_pos=True,
        final_norm=False,
    ),
    head=dict(type='LinearHead', num_classes=10, pool='avg', norm='layer'),
    loss=dict(type='CrossEntropyLoss', label_smoothing=0.1),
)
