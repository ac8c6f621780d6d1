"""ViT-H/14 on ImageNet-V2, matched frequency."""

_base_ = './vit-base-p16_test-8xb128_in-sketch.py'

model = dict(encoder=dict(arch='huge', patch_size=14))
test_dataloader = dict(
    dataset=dict(
        source=dict(root='data/imagenetv2-matched-frequency-format-val', classes='imagenet-v2'),
    )
)
