"""Fine-tuning (paper table 9): AdamW with layer decay, 5 epochs of warm-up, cosine to 1e-6.

`base_lr`, `layer_decay`, drop path and the length differ by size and source: they are the leaf's.
"""

global_batch_size = 1024
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp='bfloat16',
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='GroupedOptimConstructor',
    paramwise_cfg=dict(decay_tokens=False),
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=5, min_lr=1e-6)
train_cfg = dict(type='TrainLoop', val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
