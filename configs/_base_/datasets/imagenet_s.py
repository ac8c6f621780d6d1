"""ImageNet-S-919 with the transforms of its authors: random resized crop, colours, grey, blur.

Evaluation: short side to 256, any aspect, at the size of the file.
"""

train_dataloader = dict(
    batch_size=32,
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
            root='data/imagenet-s919',
            images='train-semi',
            maps='train-semi-segmentation',
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='LoadMap', encoding='rg', ignore_index=1000),
            dict(type='RandomResizedCrop', scale=(0.14, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, prob=0.8
            ),
            dict(type='RandomGray', prob=0.2),
            dict(type='RandomBlur', prob=0.5, sigma=(0.1, 2.0)),
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
            root='data/imagenet-s919',
            images='validation',
            maps='validation-segmentation',
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeInside', short_side=256),
            dict(type='LoadMap', encoding='rg', ignore_index=1000),  # at the size of the file
            dict(type='PackDense'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MeanIoU', ignore_index=1000)
test_evaluator = val_evaluator
