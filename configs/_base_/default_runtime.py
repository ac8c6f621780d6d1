"""What every run shares and no recipe speaks of: hooks, logs, the seed."""

default_scope = 'mae'
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep=2),
    guard=dict(type='GuardHook', patience=10, max_rollbacks=2),
    run_state=dict(type='RunStateHook', seconds=10.0),
    stop=dict(type='StopHook', requeue=True),
    watchdog=dict(type='WatchdogHook', seconds=None),
    bad_samples=dict(type='BadSamplesHook', max_bad_fraction=0.001),
    run_report=dict(type='RunReportHook', seconds=30.0),
    progress=dict(type='ProgressHook'),
)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
