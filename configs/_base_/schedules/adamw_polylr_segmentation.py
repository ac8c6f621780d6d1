"""Segmentation in 160,000 steps of 16 images: AdamW, 1,500 steps of warm-up, a straight line to 0.

Learning rate and layer decay are the recipe's. Cls token, positions and their biases are decayed:
mmsegmentation means to exempt them, and does not.
"""

global_batch_size = 16
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp=None,
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='GroupedOptimConstructor',
)
param_scheduler = dict(type='WarmupPolyLR', warmup=1500, start_factor=1e-6, power=1.0)
train_cfg = dict(type='TrainLoop', max_steps=160_000, val_interval=16_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
