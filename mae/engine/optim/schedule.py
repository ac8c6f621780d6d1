"""The learning rate of the recipes: linear warm-up, then half a cosine, at every iteration."""

import logging
import math
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mae.registry import PARAM_SCHEDULERS
from mae.utils.errors import ConfigError
from mae.utils.ratio import exact


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """A closed formula of the step, so that resuming needs no history.

    At step t of T, with W steps of warm-up: lr * t / W for t < W, then
    min_lr + (lr - min_lr) * (1 + cos(pi * (t - W) / (T - W))) / 2. With layer-wise decay both
    lr and min_lr carry the scale of the group.

    Args:
        optimizer: wrapper whose parameter groups are updated.
        warmup: W, in steps.
        min_lr: value approached at the end.
        end: T, in steps.
        others: further arguments of mmengine's scheduler.

    Raises:
        ValueError: the warm-up is negative or as long as the run.
    """

    def __init__(
        self,
        optimizer: OptimWrapper,
        *,
        warmup: int,
        min_lr: float = 0.0,
        end: int,
        **others: object,
    ) -> None:
        if not 0 <= warmup < end:
            raise ValueError(
                f'param_scheduler: {warmup} steps of warm-up do not fit a run of {end} steps; '
                'change warmup_epochs or train_cfg.max_epochs'
            )
        self.warmup = warmup
        self.min_lr = min_lr
        super().__init__(optimizer, 'lr', end=end, by_epoch=False, **others)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: OptimWrapper,
        *,
        epoch_length: int,
        end: int,
        warmup_epochs: float = 0,
        min_lr: float = 0.0,
    ) -> 'WarmupCosineLR':
        """The schedule of a config, in which lengths are in epochs.

        Args:
            optimizer: wrapper whose parameter groups are updated.
            epoch_length: steps in an epoch.
            end: epochs of the run; by default `train_cfg.max_epochs`.
            warmup_epochs: epochs of warm-up. If the run is not longer than these, a tenth of it,
                as in the recipes, with a warning.
            min_lr: value approached at the end.

        Raises:
            ConfigError: `warmup_epochs` is negative.
        """
        warmup = round(exact(_fitting(warmup_epochs, end)) * epoch_length)
        return cls(optimizer, warmup=warmup, min_lr=min_lr, end=end * epoch_length)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore only the step: the curve is the config's, also if the run was made longer."""
        for name in ('warmup', 'end', 'min_lr'):
            there, here = state_dict[name], getattr(self, name)
            if there != here:
                message = (
                    f'param_scheduler: {name} was {there} and is {here} now, from this step on'
                )
                print_log(message, 'current', logging.WARNING)
        self._global_step = state_dict['_global_step']
        self.last_step = min(self._global_step, self.end - 1)
        self._last_value = self._get_value()
        for group, value in zip(self.optimizer.param_groups, self._last_value, strict=True):
            group['lr'] = value

    def _get_value(self) -> list[float]:
        t, warmup = self.last_step, self.warmup
        values = []
        for lr, group in zip(self.base_values, self.optimizer.param_groups, strict=True):
            if t < warmup:
                values.append(lr * t / warmup)
                continue
            floor = self.min_lr * group.get('lr_scale', 1.0)
            cosine = (1 + math.cos(math.pi * (t - warmup) / (self.end - warmup))) / 2
            values.append(floor + (lr - floor) * cosine)
        return values


def _fitting(warmup_epochs: float, end: int) -> float:
    """Epochs of warm-up of a run of `end` epochs, which may be shorter than the recipe's."""
    if warmup_epochs < 0:
        raise ConfigError(
            f'param_scheduler.warmup_epochs must not be negative, got {warmup_epochs}'
        )
    if warmup_epochs == 0 or warmup_epochs < end:
        return warmup_epochs
    message = (
        f'param_scheduler.warmup_epochs={warmup_epochs} does not fit train_cfg.max_epochs={end}: '
        f'{end / 10:g} epochs of warm-up, a tenth of the run, take their place'
    )
    print_log(message, 'current', logging.WARNING)
    return end / 10
