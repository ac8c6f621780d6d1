"""Fashion-MNIST with all 60,000 training labels; its 10,000 test images to validate."""

train_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
        ),
        pipeline=[
            dict(type='RandomShift', pixels=2),
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
        source=dict(
            type='IDXImages', root='data/fashion-mnist', split='test', classes='fashion-mnist'
        ),
        pipeline=[dict(type='PackInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
