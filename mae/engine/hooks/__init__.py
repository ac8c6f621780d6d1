from mae.engine.hooks.average import EMAHook
from mae.engine.hooks.bad_samples import BadSamplesHook
from mae.engine.hooks.checkpoint import CheckpointHook
from mae.engine.hooks.guard import GuardHook
from mae.engine.hooks.logging import LoggerHook, RuntimeInfoHook
from mae.engine.hooks.resolution import LowResolutionHook
from mae.engine.hooks.run_state import RunStateHook
from mae.engine.hooks.stop import StopHook
from mae.engine.hooks.watchdog import WatchdogHook

__all__ = [
    'BadSamplesHook',
    'CheckpointHook',
    'EMAHook',
    'GuardHook',
    'LoggerHook',
    'LowResolutionHook',
    'RunStateHook',
    'RuntimeInfoHook',
    'StopHook',
    'WatchdogHook',
]
