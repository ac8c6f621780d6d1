"""COCO 2017: large-scale jitter on the model's image size; evaluation of whole images in it."""

train_dataloader = dict(
    batch_size=1,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate_dense'),
    dataset=dict(
        type='SeededDataset',
        source=dict(
            type='CocoInstances',
            root='data/coco/train2017',
            annotations='annotations/instances_train2017.json',
            filter_empty=True,
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='LoadInstances'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='LargeScaleJitter', scale=(0.1, 2.0)),
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
            type='CocoInstances',
            root='data/coco/val2017',
            annotations='annotations/instances_val2017.json',
        ),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeToFit'),
            dict(type='Pad'),
            dict(type='LoadInstances'),  # at the size of the file, as the figures are
            dict(type='PackDense'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='AveragePrecision', iou='box'),
    dict(type='AveragePrecision', iou='mask'),
]
test_evaluator = val_evaluator
