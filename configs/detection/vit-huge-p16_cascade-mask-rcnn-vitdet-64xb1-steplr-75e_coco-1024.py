"""ViTDet with ViT-H/16 and Cascade Mask R-CNN on COCO; patches are resized."""

_base_ = './vit-base-p16_mask-rcnn-vitdet-64xb1-steplr-100e_coco-1024.py'

model = dict(
    encoder=dict(arch='huge', global_blocks=[7, 15, 23, 31], drop_path_rate=0.5),
    taps=[31],
    roi=dict(type='CascadeRoIHead'),
)
# Norms and positions decay too: detectron2's exceptions are not made here.
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.9, decay_tokens=True, decay_vectors='all'))
train_cfg = dict(max_epochs=75)
