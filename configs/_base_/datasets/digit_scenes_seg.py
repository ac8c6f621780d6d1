"""Scenes of handwritten digits with label maps: 100 to train on, 300 others to test."""

_scenes = dict(
    type='DigitScenes',
    task='maps',
    img_size=24,
    digits=(2, 4),
    sizes=(11, 11),
    step=4,
    is_cached=True,
)
train_dataloader = dict(
    batch_size=25,
    num_workers=0,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(
        type='SeededDataset',
        source=dict(**_scenes, split='train', num_scenes=100),
        pipeline=[dict(type='PackDense')],
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(
        type='SeededDataset',
        source=dict(**_scenes, split='val', num_scenes=300),
        pipeline=[dict(type='PackDense')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MeanIoU', per_class=True)
test_evaluator = val_evaluator
