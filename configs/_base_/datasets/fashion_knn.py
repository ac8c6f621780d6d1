"""Fashion-MNIST for k-NN: the training images are the bank."""

test_dataloader = dict(
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
test_cfg = dict(
    bank_dataloader=dict(
        batch_size=500,
        num_workers=0,
        sampler=dict(type='ShardSampler'),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(
                type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
            ),
            pipeline=[dict(type='PackInputs')],
        ),
    )
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
