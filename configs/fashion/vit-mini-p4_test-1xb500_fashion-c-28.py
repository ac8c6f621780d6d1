"""A classifier on Fashion-C: 1,000 test images in 14 kinds and 5 severities of corruption."""

_base_ = ['../_base_/default_runtime.py', '../_base_/models/vit-mini-p4_cls.py']

_images = dict(type='IDXImages', root='data/fashion-mnist', split='test', classes='fashion-mnist')
model = dict(preprocessor=dict(mean=[72.94], std=[90.02]), encoder=dict(img_size=28))
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='Corrupted', source=dict(type='Subset', source=_images, per_class=100)),
        # Lengths are a third of those at 224 pixels: the least defocus has a radius of one.
        pipeline=[dict(type='Corrupt', base_size=84), dict(type='PackInputs')],
    ),
)
test_evaluator = dict(type='CorruptionError', baseline=None)
test_cfg = dict(type='TestLoop')
