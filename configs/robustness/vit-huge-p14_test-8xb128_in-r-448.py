"""ViT-H/14 at 448 pixels, on ImageNet-R."""

_base_ = './vit-base-p16_test-8xb128_in-sketch.py'

model = dict(encoder=dict(arch='huge', patch_size=14, img_size=448))
test_dataloader = dict(
    dataset=dict(
        source=dict(root='data/imagenet-r'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    )
)
test_evaluator = dict(type='SubsetAccuracy', subset='imagenet-r')
