"""ViT-L/16 pre-trained for 400 epochs."""

_base_ = './mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'

model = dict(encoder=dict(arch='large'))
