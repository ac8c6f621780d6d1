"""What the configs of small runs in tests have in common, as a shipped config states it."""

OPTIM_WRAPPER = dict(
    type='StepOptimWrapper',
    optimizer=dict(type='AdamW', betas=(0.9, 0.95), weight_decay=0.05),
    constructor='GroupedOptimConstructor',
)
SMALL_RUN = dict(
    param_scheduler=dict(type='WarmupCosineLR', warmup_epochs=1),
    default_hooks=dict(
        runtime_info=dict(type='RuntimeInfoHook'),
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=1),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', interval=1),
    ),
    visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
    randomness=dict(seed=0),
    env_cfg=dict(cudnn_benchmark=False),
)
