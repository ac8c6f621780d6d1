"""ViT-Ti/8 at 64 pixels, pre-trained on about 5,000 images."""

_base_ = './mae_vit-tiny-p16_1xb512-amp-coslr-1600e_any.py'

model = dict(encoder=dict(img_size=64, patch_size=8))
