"""Linear probe of a frozen ViT-H/14."""

_base_ = './vit-base-p16_linear.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
