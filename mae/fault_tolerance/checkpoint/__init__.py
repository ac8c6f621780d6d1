from mae.fault_tolerance.checkpoint.folder import (
    Choice,
    check_checkpoint,
    choose_checkpoint,
    list_checkpoints,
    newest_checkpoint,
    newest_verified,
    verified,
)
from mae.fault_tolerance.checkpoint.io import load_checkpoint
from mae.fault_tolerance.checkpoint.load import LoadReport, fit_weights
from mae.fault_tolerance.checkpoint.save import checkpoint_bytes, save_checkpoint
from mae.fault_tolerance.checkpoint.sharded_load import is_sharded_checkpoint, load_sharded
from mae.fault_tolerance.checkpoint.state import (
    check_resumable,
    identity_of,
    mmengine_checkpoint,
    restore_state,
    training_state,
)
from mae.fault_tolerance.checkpoint.weights import (
    read_model,
    read_raw,
    save_safetensors,
    unshared,
)
from mae.utils.distributed import on_main, together  # from here until 0.2

__all__ = [
    'Choice',
    'LoadReport',
    'check_checkpoint',
    'check_resumable',
    'checkpoint_bytes',
    'choose_checkpoint',
    'fit_weights',
    'identity_of',
    'is_sharded_checkpoint',
    'list_checkpoints',
    'load_checkpoint',
    'load_sharded',
    'mmengine_checkpoint',
    'newest_checkpoint',
    'newest_verified',
    'on_main',
    'read_model',
    'read_raw',
    'restore_state',
    'save_checkpoint',
    'save_safetensors',
    'together',
    'training_state',
    'unshared',
    'verified',
]
