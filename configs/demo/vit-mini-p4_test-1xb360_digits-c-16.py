"""A classifier on Digits-C: the validation digits in 14 kinds and 5 severities of corruption."""

_base_ = ['../_base_/default_runtime.py', '../_base_/models/vit-mini-p4_cls.py']

test_dataloader = dict(
    batch_size=360,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='Corrupted', source=dict(type='Digits', split='val')),
        # Lengths are a third of those at 224 pixels: the least defocus has a radius of one.
        pipeline=[dict(type='Corrupt', base_size=48), dict(type='PackInputs')],
    ),
)
test_evaluator = dict(type='CorruptionError', baseline=None)
test_cfg = dict(type='TestLoop')
