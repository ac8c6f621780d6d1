"""Scenes of handwritten digits for pre-training, none of which has labels elsewhere."""

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='DigitScenes',
            split='train',
            num_scenes=3200,
            task='images',
            img_size=24,
            digits=(2, 4),
            sizes=(11, 11),
            step=4,
            seed=100,
            is_cached=True,
        ),
        pipeline=[dict(type='PackInputs')],
    ),
)
