"""Linear probe (paper table 10): LARS, 10 epochs of warm-up, cosine to 0.

LARS neither adapts nor decays 1-D parameters: the constructor marks them. It is ours and not
mmpretrain's, whose momentum holds the learning rate and so lags behind the warm-up.
"""

base_lr = 0.1
global_batch_size = 16384
optim_wrapper = dict(
    type='StepOptimWrapper',
    amp='bfloat16',
    optimizer=dict(type='LARS', momentum=0.9, weight_decay=0.0, eta=0.001),
    constructor='GroupedOptimConstructor',
)
param_scheduler = dict(type='WarmupCosineLR', warmup_epochs=10, min_lr=0.0)
train_cfg = dict(type='TrainLoop', val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
