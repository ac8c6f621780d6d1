"""ImageNet-1k for pre-training: random crop and flip, nothing else (paper section 4).

The labels of `data/imagenet/train/<class>/` are read but play no part.
"""

train_dataloader = dict(
    batch_size=512,
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
            dict(type='DecodeRandomResizedCrop', scale=(0.2, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ],
    ),
)
