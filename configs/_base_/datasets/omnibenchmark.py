"""OmniBenchmark for probes: short side to 224 (bicubic), centre crop 224, in all splits."""

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
        dict(type='ResizeShort'),
        dict(type='CenterCrop'),
        dict(type='PackInputs'),
    ],
)
photos = dict(type='OmniBenchmark', root='data/omnibenchmark')
eval_amp = 'bfloat16'  # as the recipes train
test_dataloader = dict(**loader, dataset=dict(**images, source=dict(**photos, split='test')))
test_cfg = dict(
    bank_dataloader=dict(**loader, dataset=dict(**images, source=dict(**photos, split='train'))),
    val_bank_dataloader=dict(**loader, dataset=dict(**images, source=dict(**photos, split='val'))),
)
