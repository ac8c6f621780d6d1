"""Linear probe of ViT-H/14."""

_base_ = './vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
