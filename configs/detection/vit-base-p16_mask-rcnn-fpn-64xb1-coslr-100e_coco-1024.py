"""Mask R-CNN with ViT-B/16 and a feature pyramid on COCO."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mask-rcnn_vit-fpn.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/adamw_detection.py',
]

# Of hustvl/MIMDet, a reproduction: the authors searched rate, decay and drop path.
optim_wrapper = dict(
    optimizer=dict(lr=1.6e-4, weight_decay=0.2), paramwise_cfg=dict(no_decay=['rel_pos'])
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=0.25, start_factor=0.001)
