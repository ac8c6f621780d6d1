"""A small ViT for 24x24 grey images, and a narrow Mask R-CNN whose heads see its last map alone."""

model = dict(
    type='Detector',
    preprocessor=dict(type='DensePreprocessor', mean=[35.0], std=[71.0]),
    encoder=dict(
        type='DenseViTEncoder',
        arch=dict(embed_dim=64, depth=4, num_heads=4),
        mlp_ratio=2.0,
        img_size=24,
        patch_size=4,
        in_channels=1,
    ),
    taps=[3],
    neck=None,
    # one anchor of a digit's size on every patch
    rpn=dict(
        type='RPN',
        sizes=[11],
        ratios=[1.0],
        num_convs=1,
        proposals=((50, 30), (50, 20)),
        samples=64,
    ),
    roi=dict(
        type='RoIHead',
        num_classes=10,
        width=16,
        # The class of a box comes from its mean feature, without convolutions, so that the encoder
        # has to tell the classes apart.
        box_side=1,
        box_convs=0,
        hidden=128,
        samples=16,
        max_detections=10,
    ),
)
