"""ViTDet with ViT-B/16 and Cascade Mask R-CNN on COCO."""

_base_ = './vit-base-p16_mask-rcnn-vitdet-64xb1-steplr-100e_coco-1024.py'

model = dict(roi=dict(type='CascadeRoIHead'))
