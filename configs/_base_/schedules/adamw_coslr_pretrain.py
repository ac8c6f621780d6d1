"""Pre-training (paper section 4): AdamW, 40 epochs of warm-up, cosine to 0.

The length, `train_cfg.max_epochs`, is the leaf's.
"""

base_lr = 1.5e-4
global_batch_size = 4096
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp='bfloat16',
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='GroupedOptimConstructor',
    paramwise_cfg=dict(layer_decay=None, decay_tokens=True),
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=40, min_lr=0.0)
train_cfg = dict(type='TrainLoop')
