from mae.engine.checkpoint.fit import LoadReport, fit_weights
from mae.engine.checkpoint.io import load_checkpoint, save_checkpoint
from mae.engine.checkpoint.state import check_resumable, restore_state, training_state

__all__ = [
    'LoadReport',
    'check_resumable',
    'fit_weights',
    'load_checkpoint',
    'restore_state',
    'save_checkpoint',
    'training_state',
]
