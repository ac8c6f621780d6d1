from mae.engine.hooks.bad_samples import BadSamplesHook
from mae.engine.hooks.checkpoint import CheckpointHook
from mae.engine.hooks.logging import LoggerHook, RuntimeInfoHook

__all__ = ['BadSamplesHook', 'CheckpointHook', 'LoggerHook', 'RuntimeInfoHook']
