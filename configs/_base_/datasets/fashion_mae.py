"""Fashion-MNIST for pre-training: 60,000 garments, flipped and nothing else."""

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='IDXImages', root='data/fashion-mnist', split='train', classes='fashion-mnist'
        ),
        pipeline=[dict(type='RandomFlip'), dict(type='PackInputs')],
    ),
)
