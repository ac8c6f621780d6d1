"""ViT-B/16 on ImageNet-Sketch; the other configs of this folder inherit it."""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/vit-base-p16_cls.py',
    '../_base_/datasets/imagenet_test.py',
]

test_dataloader = dict(dataset=dict(source=dict(root='data/imagenet-sketch')))
