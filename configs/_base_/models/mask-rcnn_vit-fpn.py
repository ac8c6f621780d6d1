"""Mask R-CNN on four maps of a ViT and a feature pyramid (Li et al. 2021, arXiv 2111.11429).

Windows of 16 with a global block at the end of each quarter, whose maps are the levels. Positions
are those of the 64x64 grid, sine-cosine and fixed; offsets are learned, in two tables for all.
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
        load_pos=False,
        window_size=16,
        global_blocks=[2, 5, 8, 11],
        rel_pos='table',
        share_rel_pos=True,
        drop_path_rate=0.1,
    ),
    taps=[2, 5, 8, 11],
    neck=dict(type='FPNNeck', channels=256, norm='batch', levels_norm='groups'),
    rpn=dict(type='RPN', sizes=(32, 64, 128, 256, 512)),
    roi=dict(type='RoIHead', num_classes=80, norm='batch'),
    preprocessor=dict(
        type='DensePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
)
sync_bn = 'torch'
