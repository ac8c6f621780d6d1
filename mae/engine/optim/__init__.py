from mae.engine.optim.constructor import GroupedOptimConstructor
from mae.engine.optim.lars import LARS
from mae.engine.optim.schedule import WarmupCosineLR, WarmupPolyLR, WarmupStepLR
from mae.engine.optim.wrapper import StepOptimWrapper

__all__ = [
    'LARS',
    'GroupedOptimConstructor',
    'StepOptimWrapper',
    'WarmupCosineLR',
    'WarmupPolyLR',
    'WarmupStepLR',
]
