"""Handwritten digits for pre-training: small shifts, nothing else."""

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='Digits', split='train'),
        pipeline=[dict(type='RandomShift', pixels=1), dict(type='PackInputs')],
    ),
)
