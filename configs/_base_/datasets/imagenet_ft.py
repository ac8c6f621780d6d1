"""ImageNet-1k for fine-tuning (paper table 9): RandAugment in the workers, mixing on the device.

Evaluation: short side to 256 (bicubic), centre crop 224.
"""

train_dataloader = dict(
    batch_size=128,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='GlobalBatchSampler', shuffle=True),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/imagenet', split='train'),
        pipeline=[
            dict(type='DecodeRandomResizedCrop', scale=(0.08, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=512,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/imagenet', split='val'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort', crop_pct=0.875),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
