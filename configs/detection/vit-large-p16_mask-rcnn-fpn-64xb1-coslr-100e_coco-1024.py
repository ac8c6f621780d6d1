"""Mask R-CNN with ViT-L/16 and a feature pyramid on COCO."""

_base_ = './vit-base-p16_mask-rcnn-fpn-64xb1-coslr-100e_coco-1024.py'

# No values of ViT-L were found: those of ViT-B, and a drop path of ours.
model = dict(
    encoder=dict(arch='large', global_blocks=[5, 11, 17, 23], drop_path_rate=0.2),
    taps=[5, 11, 17, 23],
)
