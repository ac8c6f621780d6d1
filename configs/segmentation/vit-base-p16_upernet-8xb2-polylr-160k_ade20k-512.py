"""UperNet with ViT-B/16 on ADE20K; the other ADE20K configs inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/upernet_vit-base-p16.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/adamw_polylr_segmentation.py',
]

# Of mmsegmentation and implus/mae_segmentation, which agree.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(layer_decay=0.65))
sync_bn = 'torch'
