"""Handwritten digits with all 1,437 training labels."""

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='Digits', split='train'),
        pipeline=[dict(type='RandomShift', pixels=1), dict(type='PackInputs')],
    ),
)
val_dataloader = dict(
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
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
