"""ViT-H/14 to fine-tune on 1000 classes."""

_base_ = './vit-base-p16_cls.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
