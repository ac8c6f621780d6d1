"""Scenes of handwritten digits with boxes and masks: 100 to train on, 300 others to test."""

_scenes = dict(
    type='DigitScenes',
    task='instances',
    img_size=24,
    digits=(2, 4),
    sizes=(11, 11),
    step=4,
    is_cached=True,
)
train_dataloader = dict(
    batch_size=4,
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
val_evaluator = [
    dict(type='AveragePrecision', iou='box'),
    dict(type='AveragePrecision', iou='mask'),
]
test_evaluator = val_evaluator
