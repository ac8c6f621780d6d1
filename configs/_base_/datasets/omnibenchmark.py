"""OmniBenchmark for probes: short side to 224 (bicubic), centre crop 224, in all splits."""

test_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='OmniBenchmark', root='data/omnibenchmark', split='test'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort'),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    ),
)
test_cfg = dict(
    bank_dataloader=dict(
        batch_size=512,
        num_workers=8,
        persistent_workers=True,
        prefetch_factor=2,
        pin_memory=True,
        sampler=dict(type='ShardSampler'),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(type='OmniBenchmark', root='data/omnibenchmark', split='train'),
            pipeline=[
                dict(type='DecodeImage'),
                dict(type='ResizeShort'),
                dict(type='CenterCrop'),
                dict(type='PackInputs'),
            ],
        ),
    ),
    val_bank_dataloader=dict(
        batch_size=512,
        num_workers=8,
        persistent_workers=True,
        prefetch_factor=2,
        pin_memory=True,
        sampler=dict(type='ShardSampler'),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(type='OmniBenchmark', root='data/omnibenchmark', split='val'),
            pipeline=[
                dict(type='DecodeImage'),
                dict(type='ResizeShort'),
                dict(type='CenterCrop'),
                dict(type='PackInputs'),
            ],
        ),
    ),
)
