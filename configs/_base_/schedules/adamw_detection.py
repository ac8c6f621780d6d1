"""Detection: AdamW at a stated learning rate, 64 images a step, warm-up from a thousandth of it.

Layer decay, weight decay and the curve are the recipe's.
"""

base_lr = None
global_batch_size = 64
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp=None,
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.999)),
    constructor='GroupedOptimConstructor',
    paramwise_cfg=dict(decay_tokens=False, decay_vectors='biases'),
)
train_cfg = dict(type='TrainLoop', max_epochs=100, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
