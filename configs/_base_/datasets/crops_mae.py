"""Photo crops for pre-training: flipped and nothing else, without their labels."""

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/photo-crops', split='train', labelled=False),
        pipeline=[dict(type='DecodeImage'), dict(type='RandomFlip'), dict(type='PackInputs')],
    ),
)
