"""ImageNet-1k for k-NN: the training images are the bank; one centre crop for both splits."""

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
        source=dict(type='ImageFolder', root='data/imagenet', split='val'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort', crop_pct=0.875),
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
            source=dict(type='ImageFolder', root='data/imagenet', split='train'),
            pipeline=[
                dict(type='DecodeImage'),
                dict(type='ResizeShort', crop_pct=0.875),
                dict(type='CenterCrop'),
                dict(type='PackInputs'),
            ],
        ),
    )
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
