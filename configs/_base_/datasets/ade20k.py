"""ADE20K (SceneParse150): random scale, crop of 512 that no class fills, photometric distortion.

Evaluation: short side to 512, at the size of the file.
"""

train_dataloader = dict(
    batch_size=2,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='LabelMapFolder',
            root='data/ade20k',
            images='images/training',
            maps='annotations/training',
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='LoadMap', zero_is='ignore'),
            dict(type='ResizeInside', long_side=2048, short_side=512, ratio_range=(0.5, 2.0)),
            dict(type='ClassBalancedCrop', max_share=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotometricDistortion'),
            dict(type='Pad'),
            dict(type='PackDense'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='LabelMapFolder',
            root='data/ade20k',
            images='images/validation',
            maps='annotations/validation',
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeInside', long_side=2048, short_side=512),
            dict(type='LoadMap', zero_is='ignore'),  # at the size of the file, as the figure is
            dict(type='PackDense'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MeanIoU', ignore_index=255)
test_evaluator = val_evaluator
