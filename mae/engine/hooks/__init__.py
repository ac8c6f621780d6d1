from mae.engine.hooks.dense_report import DenseReportHook
from mae.engine.hooks.ema import EMAHook
from mae.engine.hooks.logging import LoggerHook, LogProcessor, RuntimeInfoHook
from mae.engine.hooks.low_resolution import LowResolutionHook
from mae.engine.hooks.progress import ProgressHook
from mae.engine.hooks.run_report import RunReportHook
from mae.fault_tolerance.bad_samples import BadSamplesHook
from mae.fault_tolerance.checkpoint.hook import CheckpointHook
from mae.fault_tolerance.guard import GuardHook
from mae.fault_tolerance.run_json import RunStateHook
from mae.fault_tolerance.signals import StopHook
from mae.fault_tolerance.watchdog import WatchdogHook

__all__ = [
    'BadSamplesHook',
    'CheckpointHook',
    'DenseReportHook',
    'EMAHook',
    'GuardHook',
    'LogProcessor',
    'LoggerHook',
    'LowResolutionHook',
    'ProgressHook',
    'RunReportHook',
    'RunStateHook',
    'RuntimeInfoHook',
    'StopHook',
    'WatchdogHook',
]
