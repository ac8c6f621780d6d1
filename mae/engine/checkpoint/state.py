"""The state of a run, as a checkpoint holds it: weights, optimizer, averages and the step.

Nothing random is in it: that follows from the config and the step.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mae.engine.checkpoint.fit import fit_weights
from mae.engine.checkpoint.identity import check_same
from mae.engine.checkpoint.io import Checkpoint
from mae.utils.compat import versions
from mae.utils.errors import CheckpointError


def training_state(runner: Any, step: int) -> Checkpoint:
    """All that the rest of a run depends on, after `step` optimizer steps."""
    return {
        'meta': {
            'step': step,
            'epoch': step // len(runner.train_dataloader),
            'world_size': runner.world_size,
            **runner.identity,
            'cfg': plain(runner.cfg.to_dict()),
            'classes': list(runner.train_dataloader.dataset.metainfo.get('classes') or ()),
            'versions': versions(),
        },
        'state_dict': runner.bare_model.state_dict(),
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': [s.state_dict() for s in runner.param_schedulers or ()],
    }


def check_resumable(
    runner: Any, checkpoint: Checkpoint, path: Path, anyway: Sequence[str] = ()
) -> list[str]:
    """Refuse to continue what is not a run, or another one.

    Args:
        runner: that would continue.
        checkpoint: its content.
        path: of it, for messages.
        anyway: what may differ, of `identity.NAMES`.

    Returns:
        What differs and may, in words.

    Raises:
        CheckpointError: it holds weights only, or the run would see other samples.
    """
    meta = checkpoint.get('meta')
    needed = {'optimizer', 'param_schedulers'}
    if not isinstance(meta, dict) or 'step' not in meta or not needed <= checkpoint.keys():
        raise CheckpointError(
            f'{path} cannot be resumed: it holds weights only; start from it with --load-from'
        )
    changed = check_same(meta, runner.identity, path, anyway)
    step, end = meta['step'], runner.max_iters
    if not isinstance(step, int) or not 0 <= step <= end:
        raise CheckpointError(
            f'{path} cannot be resumed: it is at step {step}, and the run has {end}; raise '
            'train_cfg.max_epochs'
        )
    return changed


def restore_state(runner: Any, checkpoint: Checkpoint, path: Path) -> None:
    """Put a run back to the step its checkpoint was written at.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    fit_weights(runner.bare_model, checkpoint['state_dict'], path, exact=True)
    runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])
    _lay_out(runner.optim_wrapper.optimizer)
    states = checkpoint['param_schedulers']
    for scheduler, state in zip(runner.param_schedulers or (), states, strict=True):
        scheduler.load_state_dict(state)
    runner.train_loop.go_to(checkpoint['meta']['step'])


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give averages the strides of their parameters, as the optimizer once made them.

    A checkpoint holds them row by row; a fused optimizer walks through all of them as memory has
    them, and would take one value's average for another's.
    """
    for param, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == param.shape:
                state[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def plain(value: Any) -> Any:
    """A config as data: dicts, lists, numbers and strings, nothing that must be evaluated."""
    if isinstance(value, Mapping | Config):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
