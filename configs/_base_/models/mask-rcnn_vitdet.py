"""Mask R-CNN on the last map of a ViT alone: ViTDet (Li et al. 2022, arXiv 2203.16527).

Windows of 14 with four global blocks, offsets by axis, LayerNorm in neck and heads. The positions
of 14x14 patches of pre-training stay, and are resampled to the image's grid at each step.
"""

model = dict(
    type='Detector',
    encoder=dict(
        type='DenseViTEncoder',
        arch='base',
        patch_size=16,
        img_size=1024,
        with_cls_token=False,
        final_norm=False,
        trainable_pos=True,
        pos_img_size=224,
        pos_antialias=False,
        window_size=14,
        global_blocks=[2, 5, 8, 11],
        rel_pos='axes',
        drop_path_rate=0.1,
    ),
    taps=[11],
    neck=dict(type='SimplePyramid', channels=256),
    rpn=dict(type='RPN', sizes=(32, 64, 128, 256, 512)),
    roi=dict(type='RoIHead', num_classes=80, norm='channels'),
    preprocessor=dict(
        type='DensePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
)
