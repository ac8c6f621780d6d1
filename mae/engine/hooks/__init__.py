from mae.engine.hooks.checkpoint import CheckpointHook
from mae.engine.hooks.logging import LoggerHook, RuntimeInfoHook
from mae.engine.hooks.resolution import LowResolutionHook

__all__ = ['CheckpointHook', 'LoggerHook', 'LowResolutionHook', 'RuntimeInfoHook']
