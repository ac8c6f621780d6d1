"""ViT-B/16 to fine-tune on 1000 classes (paper table 9): pool the patches, norm, linear.

Drop path is part of the recipe and belongs to the leaf.
"""

model = dict(
    type='Classifier',
    preprocessor=dict(
        type='ImagePreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        mixup=dict(
            mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, prob=1.0, label_smoothing=0.1
        ),
        erase=dict(prob=0.25, mode='pixel', max_count=1),
    ),
    encoder=dict(
        type='ViTEncoder',
        arch='base',
        img_size=224,
        patch_size=16,
        trainable_pos=True,
        pos_antialias=False,  # at another image size: as the authors resample
        final_norm=False,
    ),
    head=dict(type='LinearHead', num_classes=1000, pool='avg', norm='layer', init_std=2e-5),
    loss=dict(type='CrossEntropyLoss', label_smoothing=0.1),
)
