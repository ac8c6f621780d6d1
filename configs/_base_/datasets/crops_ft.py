"""Photo crops with all training labels; the crops of the photographs' other parts to validate."""

train_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/photo-crops', split='train'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='RandomResizedCrop', scale=(0.5, 1.0)),
            dict(type='RandomFlip'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/photo-crops', split='val'),
        pipeline=[dict(type='DecodeImage'), dict(type='PackInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
