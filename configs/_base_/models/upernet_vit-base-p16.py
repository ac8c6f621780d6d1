"""UperNet on four maps of ViT-B/16 (Xiao et al. 2018; BEiT, A.2), with an auxiliary FCN.

Positions are those of pre-training, and each block learns a bias for each offset beside them.
"""

model = dict(
    type='Segmenter',
    preprocessor=dict(
        type='DensePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    encoder=dict(
        type='DenseViTEncoder',
        arch='base',
        img_size=512,
        patch_size=16,
        trainable_pos=True,
        pos_antialias=False,
        final_norm=False,
        rel_pos='table',
        layer_scale=1.0,
        drop_path_rate=0.1,
    ),
    taps=[3, 5, 7, 11],
    neck=dict(type='LevelsNeck'),
    head=dict(type='UPerHead', num_classes=150, width=768),
    auxiliary=dict(type='FCNHead', num_classes=150, level=2, width=256),
    auxiliary_weight=0.4,
    loss=dict(type='PixelCrossEntropyLoss', ignore_index=255),
    window=512,
    stride=341,
)
