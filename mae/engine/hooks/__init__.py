from mae.engine.hooks.checkpoint import CheckpointHook
from mae.engine.hooks.logging import LoggerHook, RuntimeInfoHook

__all__ = ['CheckpointHook', 'LoggerHook', 'RuntimeInfoHook']
