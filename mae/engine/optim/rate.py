"""The learning rate as a function of the global batch, on any number of devices."""

import copy
import math
from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapper

from mae.utils.errors import ConfigError
from mae.utils.text import counted


def with_rate(
    optim_wrapper: dict[str, Any], base_lr: float | None, sampler: Any, world_size: int
) -> tuple[dict[str, Any], str]:
    """A config of the optimizer with its learning rate: base_lr * global_batch_size / 256.

    Args:
        optim_wrapper: config with `optimizer` inside, which has an `lr` if there is no `base_lr`.
        base_lr: learning rate of a batch of 256.
        sampler: `GlobalBatchSampler` of the training data.
        world_size: number of devices.

    Returns:
        The config, and a line with the rate and its factors; empty if the config has an `lr`.

    Raises:
        ConfigError: there is no optimizer, not exactly one of `lr` and `base_lr`, a rate that is
            negative or not finite, or a sampler that does not know the global batch.
    """
    if not hasattr(sampler, 'global_batch_size'):
        raise ConfigError(
            "base_lr needs train_dataloader.sampler.type='GlobalBatchSampler'; with another set "
            'base_lr=None and optim_wrapper.optimizer.lr'
        )
    optim_wrapper = copy.deepcopy(optim_wrapper)
    optimizer = optim_wrapper.get('optimizer')
    if not optimizer:
        raise ConfigError('optim_wrapper.optimizer is missing')
    if ('lr' in optimizer) == (base_lr is not None):
        which = 'are both' if 'lr' in optimizer else 'are neither of them'
        raise ConfigError(
            f'base_lr and optim_wrapper.optimizer.lr {which} set; keep base_lr, from '
            'which lr = base_lr * global_batch_size / 256 follows, or lr and base_lr=None'
        )
    if base_lr is None:
        return optim_wrapper, ''
    if not 0 <= base_lr < math.inf:
        raise ConfigError(f'base_lr must be a number from 0 up, not {base_lr:g}')
    G: int = sampler.global_batch_size
    lr = optimizer['lr'] = base_lr * G / 256
    parts = world_size * sampler.accumulation
    most = 'at most ' if G % parts else ''
    return optim_wrapper, (
        f'lr {lr:g} = {base_lr:g} x {G} / 256; {G} = {most}{-(-G // parts)} per device x '
        f'{counted(world_size, "device")} x {sampler.accumulation} accumulation'
        f'{"" if lr else "; NOTHING IS LEARNED at a rate of 0"}'
    )


def configures_one_optimizer(optim_wrapper: object) -> bool:
    """Whether this is the config of one optimizer, neither of several nor a built one."""
    if not isinstance(optim_wrapper, Mapping):
        return False
    several = any(
        isinstance(part, OptimWrapper) or (isinstance(part, Mapping) and 'optimizer' in part)
        for part in optim_wrapper.values()
    )
    return not several and isinstance(optim_wrapper.get('optimizer'), Mapping | None)
