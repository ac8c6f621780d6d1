"""MAE with ViT-H/14: 657.1 M parameters, 256 patches of 14x14."""

_base_ = './mae_vit-base-p16.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
