from mae.engine.checkpoint.fit import LoadReport, fit_weights
from mae.engine.checkpoint.io import load_checkpoint, save_checkpoint
from mae.engine.checkpoint.state import check_resumable, restore_state, training_state
from mae.engine.checkpoint.weights import load_weights, read_model, save_safetensors

__all__ = [
    'LoadReport',
    'check_resumable',
    'fit_weights',
    'load_checkpoint',
    'load_weights',
    'read_model',
    'restore_state',
    'save_checkpoint',
    'save_safetensors',
    'training_state',
]
