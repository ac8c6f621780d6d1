"""MAE with ViT-L/16: 329.5 M parameters."""

_base_ = './mae_vit-base-p16.py'

model = dict(encoder=dict(arch='large'))
