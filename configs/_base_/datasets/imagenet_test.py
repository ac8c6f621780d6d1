"""Images of ImageNet's classes for a test alone: short side to 256 (bicubic), centre crop 224."""

eval_amp = 'bfloat16'  # as the recipes train
test_dataloader = dict(
    batch_size=128,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
    dataset=dict(
        type='SeededDataset',
        source=dict(type='ImageFolder', root='data/imagenet', classes='imagenet'),
        pipeline=[
            dict(type='DecodeImage'),
            dict(type='ResizeShort', crop_pct=0.875),
            dict(type='CenterCrop'),
            dict(type='PackInputs'),
        ],
    ),
)
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='Accuracy', topk=(1, 5), num_classes=1000)
