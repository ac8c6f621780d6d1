"""The optimizer of a resumed run keeps its options, and says where the config has others."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.utils.errors import CheckpointError

# How a step is computed, not what it does; and what the schedule goes by.
_OF_CONFIG = ('fused', 'foreach', 'capturable', 'differentiable', 'lr_scale')


def restore_optimizer(
    wrapper: Any, state: Mapping[str, Any], path: Path, scheduled: Collection[str] = ()
) -> str | None:
    """Load the state of an optimizer and with it, as always in torch, its options.

    Args:
        wrapper: of the optimizer that the config describes.
        state: `wrapper.state_dict()` of the run that was saved.
        path: where it came from, for messages.
        scheduled: options that a schedule moves, so that they say nothing of the config.

    Returns:
        A line about the options of the config that have no effect; None if there are none.

    Raises:
        CheckpointError: the state is of another type of optimizer, or of other groups of
            parameters.
    """
    optimizer = wrapper.optimizer
    wanted, saved = optimizer.param_groups, state['param_groups']
    options = list(optimizer.defaults)  # loading adds to them
    if len(saved) != len(wanted):
        raise CheckpointError(
            f'{path} cannot be resumed: its optimizer has {len(saved)} groups of parameters and '
            f"the config's {len(wanted)}; weight_decay (from or to 0), paramwise_cfg or what is "
            'frozen has changed'
        )
    saved = [{**then, **_of_config(now)} for then, now in zip(saved, wanted, strict=True)]
    wrapper.load_state_dict({**state, 'param_groups': saved})
    _lay_out(optimizer)
    stays = optimizer.param_groups  # others than before
    if unknown := set(options) - stays[0].keys():
        raise CheckpointError(
            f'{path} cannot be resumed: its optimizer is of another type, without '
            f'{", ".join(sorted(unknown))}'
        )
    told = {}
    for name in options:
        for now, then in zip(wanted, stays, strict=True):
            if not _is_moved(name, scheduled) and _plain(now[name]) != _plain(then[name]):
                told[name] = f'{name}={now[name]!r} has no effect: {then[name]!r} of {path} stays'
    return '; '.join(f'optim_wrapper.optimizer.{line}' for line in told.values()) or None


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give averages the strides of their parameters, as the optimizer once made them.

    A checkpoint holds them row by row; a fused optimizer walks through all of them as memory has
    them, and would take one value's average for another's.
    """
    for param, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape != param.shape:
                continue
            if value.stride() != param.stride():
                state[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def _of_config(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in _OF_CONFIG if name in group}


def _is_moved(name: str, scheduled: Collection[str]) -> bool:
    # mmengine calls the first of the betas the momentum.
    return name in scheduled or (name == 'betas' and 'momentum' in scheduled)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
