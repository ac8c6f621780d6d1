"""ViTDet with ViT-L/16 and Cascade Mask R-CNN on COCO."""

_base_ = './vit-base-p16_mask-rcnn-vitdet-64xb1-steplr-100e_coco-1024.py'

model = dict(
    encoder=dict(arch='large', global_blocks=[5, 11, 17, 23], drop_path_rate=0.4),
    taps=[23],
    roi=dict(type='CascadeRoIHead'),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.8))
