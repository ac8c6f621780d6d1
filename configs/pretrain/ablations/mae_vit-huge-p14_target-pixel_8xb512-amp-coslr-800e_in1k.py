"""ViT-H/14 on plain pixels: its reconstructions can be shown as they are."""

_base_ = './mae_vit-large-p16_target-pixel_8xb512-amp-coslr-800e_in1k.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
