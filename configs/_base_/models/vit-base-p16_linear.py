"""Linear probe of a frozen ViT-B/16 (paper table 10): cls token, BatchNorm, linear."""

model = dict(
    type='Classifier',
    preprocessor=dict(
        type='ImagePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    encoder=dict(
        type='ViTEncoder',
        arch='base',
        img_size=224,
        patch_size=16,
        with_cls_token=True,
        final_norm=True,
        pos_antialias=False,  # at another image size: as the authors resample
    ),
    head=dict(type='LinearHead', num_classes=1000, pool='cls', norm='batch', init_std=0.01),
    loss=dict(type='CrossEntropyLoss'),
    trainable_blocks=0,
)
