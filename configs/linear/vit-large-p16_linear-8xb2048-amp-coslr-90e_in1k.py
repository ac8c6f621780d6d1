"""Linear probe of ViT-L/16."""

_base_ = './vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k.py'

model = dict(encoder=dict(arch='large'))
