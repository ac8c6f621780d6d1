"""ImageNet-1k for k-NN: the training images are the bank; one centre crop for both splits."""

loader = dict(
    batch_size=512,
    num_workers='auto',
    persistent_workers=True,
    prefetch_factor=2,
    pin_memory=True,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
)
images = dict(
    type='SeededDataset',
    pipeline=[
        dict(type='DecodeImage'),
        dict(type='ResizeShort', crop_pct=0.875),
        dict(type='CenterCrop'),
        dict(type='PackInputs'),
    ],
)
photos = dict(type='ImageFolder', root='data/imagenet')
eval_amp = 'bfloat16'  # as the recipes train
test_dataloader = dict(**loader, dataset=dict(**images, source=dict(**photos, split='val')))
test_cfg = dict(
    bank_dataloader=dict(**loader, dataset=dict(**images, source=dict(**photos, split='train')))
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
