"""ViT-B/16 on ImageNet's validation images with the labels of ReaL."""

_base_ = './vit-base-p16_test-8xb128_in-sketch.py'

test_dataloader = dict(
    dataset=dict(source=dict(root='data/imagenet', split='val', file_numbers=True))
)
test_evaluator = dict(_delete_=True, type='RealAccuracy')
