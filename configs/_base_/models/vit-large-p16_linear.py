"""Linear probe of a frozen ViT-L/16."""

_base_ = './vit-base-p16_linear.py'

model = dict(encoder=dict(arch='large'))
