"""ViT-H/14 on ImageNet-Sketch."""

_base_ = './vit-base-p16_test-8xb128_in-sketch.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
