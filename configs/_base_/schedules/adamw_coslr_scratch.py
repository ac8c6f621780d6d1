"""Supervised training from scratch (paper table 11): AdamW, 20 epochs of warm-up, an average."""

base_lr = 1e-4
global_batch_size = 4096
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp='bfloat16',
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.95), weight_decay=0.3),
    constructor='GroupedOptimConstructor',
    paramwise_cfg=dict(layer_decay=None, decay_tokens=True),
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=20, min_lr=0.0)
# mmengine's momentum is the share of the new weights: the paper's decay is .9999
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=1e-4)]
train_cfg = dict(type='TrainLoop', val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
