"""ViTDet with ViT-B/16 and Mask R-CNN on COCO."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/mask-rcnn_vitdet.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/adamw_detection.py',
]

optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.1), paramwise_cfg=dict(layer_decay=0.7))
# Of 184,375 steps as the authors count them: 250 of warm-up, a tenth from 163,889 and 177,546 on.
param_scheduler = dict(
    type='WarmupStepLR',
    warmup_epochs=0.1365,
    start_factor=0.001,
    milestones=(0.88889, 0.96296),
)
