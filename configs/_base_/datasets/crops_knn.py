"""Photo crops for k-NN: the training crops are the bank."""

loader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    collate_fn=dict(type='collate'),
)
images = dict(type='SeededDataset', pipeline=[dict(type='DecodeImage'), dict(type='PackInputs')])
crops = dict(type='ImageFolder', root='data/photo-crops')
test_dataloader = dict(**loader, dataset=dict(**images, source=dict(**crops, split='val')))
test_cfg = dict(
    bank_dataloader=dict(**loader, dataset=dict(**images, source=dict(**crops, split='train')))
)
test_evaluator = dict(type='Accuracy', topk=(1, 5))
