"""Handwritten digits for k-NN: the training images are the bank."""

test_dataloader = dict(
    batch_size=360,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='Digits', split='val'),
        pipeline=[dict(type='PackInputs')],
    ),
)
test_cfg = dict(
    bank_dataloader=dict(
        batch_size=500,
        num_workers=0,
        sampler=dict(type='ShardSampler'),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(type='Digits', split='train'),
            pipeline=[dict(type='PackInputs')],
        ),
    )
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
