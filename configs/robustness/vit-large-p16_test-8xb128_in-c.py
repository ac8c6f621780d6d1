"""ViT-L/16 on ImageNet-C."""

_base_ = './vit-base-p16_test-8xb128_in-sketch.py'

model = dict(encoder=dict(arch='large'))
test_dataloader = dict(
    dataset=dict(
        source=dict(type='ImageNetC', root='data/imagenet-c'),
        pipeline=[dict(type='DecodeImage'), dict(type='CenterCrop'), dict(type='PackInputs')],
    )
)
test_evaluator = dict(_delete_=True, type='CorruptionError', baseline='alexnet')
