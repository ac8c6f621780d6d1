"""The learning rate of the recipes: linear warm-up, then a falling curve, at every iteration."""

import logging
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, ReduceOnPlateauParamScheduler
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mae.registry import PARAM_SCHEDULERS, find
from mae.utils.errors import ConfigError
from mae.utils.ratio import exact


def at_each_step(scheduler: object, *, in_steps: bool) -> list[Any]:
    """Schedules for a `TrainLoop`: configs say that they are updated at each step.

    Args:
        scheduler: one or a list, built or as configs.
        in_steps: whether the run's length is in steps, not in epochs.

    Raises:
        ConfigError: a warm-up in epochs of a run in steps, or the reverse; or a schedule that
            follows a metric.
    """
    schedulers = scheduler if isinstance(scheduler, list | tuple) else [scheduler]
    wrong, right = ('warmup_epochs', 'warmup') if in_steps else ('warmup', 'warmup_epochs')
    if any(isinstance(item, Mapping) and wrong in item for item in schedulers):
        length = 'max_steps' if in_steps else 'max_epochs'
        raise ConfigError(f'param_scheduler.{wrong}: train_cfg.{length} needs {right}')
    for item in schedulers:
        kind = find(PARAM_SCHEDULERS, item.get('type')) if isinstance(item, Mapping) else None
        if isinstance(kind, type) and issubclass(kind, ReduceOnPlateauParamScheduler):
            raise ConfigError(
                f'param_scheduler: a {kind.__name__} follows a metric, and a TrainLoop needs one '
                'that follows the step, such as WarmupCosineLR'
            )
    unit = {'by_epoch': False} if in_steps else {'convert_to_iter_based': True}
    return [{**unit, **item} if isinstance(item, Mapping) else item for item in schedulers]


class WarmupLR(_ParamScheduler):
    """A linear warm-up, then a closed formula of the step, so that resuming needs no history.

    At step t of T, with W steps of warm-up: lr * (s + (1 - s) * t / W) for t < W, from s, the share
    at the start. With layer-wise decay both lr and min_lr carry the scale of the group.

    Args:
        optimizer: wrapper whose parameter groups are updated.
        warmup: W, in steps.
        min_lr: value approached at the end.
        begin: step of the run at which t is 0; until then the rate is left alone.
        end: step of the run at which t is T.
        start_factor: s.
        others: further arguments of mmengine's scheduler.

    Raises:
        ValueError: `begin` is negative or not below `end`, the warm-up is negative or does not end
            before `end`, or s is outside [0, 1].
    """

    def __init__(
        self,
        optimizer: OptimWrapper,
        *,
        warmup: int = 0,
        min_lr: float = 0.0,
        begin: int = 0,
        end: int,
        start_factor: float = 0.0,
        **others: object,
    ) -> None:
        if not 0 <= begin < end:
            raise ValueError(
                f'param_scheduler.begin must lie from 0 to below the last step, {end}, got {begin}'
            )
        if not 0 <= warmup < end - begin:
            raise ValueError(
                f'param_scheduler: {warmup} steps of warm-up do not fit into {end - begin} steps; '
                'change warmup_epochs or train_cfg.max_epochs, or warmup or train_cfg.max_steps'
            )
        if not 0 <= start_factor <= 1:
            raise ValueError(f'param_scheduler.start_factor must lie in [0, 1], not {start_factor}')
        self.warmup = warmup
        self.min_lr = min_lr
        self.start_factor = start_factor
        options = {**others, 'by_epoch': False}
        super().__init__(optimizer, 'lr', begin=begin, end=end, **options)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: OptimWrapper,
        *,
        epoch_length: int,
        end: int,
        begin: float = 0,
        warmup_epochs: float = 0,
        **options: Any,
    ) -> 'WarmupLR':
        """The schedule of a config, in which lengths are in epochs.

        Args:
            optimizer: wrapper whose parameter groups are updated.
            epoch_length: steps in an epoch.
            end: epochs of the run; by default `train_cfg.max_epochs`.
            begin: epoch of the run from which on the rate is updated.
            warmup_epochs: epochs of warm-up. If there are not more until the end, a tenth of them,
                as in the recipes, with a warning.
            options: the others, which are not lengths.

        Raises:
            ConfigError: `warmup_epochs` is negative, or `begin` is negative or not below `end`.
        """
        if not 0 <= begin < end:
            raise ConfigError(
                f'param_scheduler.begin must lie from 0 to below train_cfg.max_epochs={end}, '
                f'got {begin}'
            )
        warmup, first = (
            round(exact(epochs) * epoch_length)
            for epochs in (_fitting(warmup_epochs, begin, end), begin)
        )
        return cls(optimizer, warmup=warmup, begin=first, end=end * epoch_length, **options)

    @property
    def length(self) -> int:
        """T, in steps."""
        return int(self.end - self.begin)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore only the step: the curve is the config's, also if the run was made longer."""
        for name in ('warmup', 'begin', 'end', 'min_lr'):
            there, here = state_dict[name], getattr(self, name)
            if there != here:
                message = (
                    f'param_scheduler: {name} was {there} and is {here} now, from this step on'
                )
                print_log(message, 'current', logging.WARNING)
        self._global_step = state_dict['_global_step']
        self.last_step = min(self._global_step, self.end - 1) - self.begin
        groups = self.optimizer.param_groups
        values = [group['lr'] for group in groups]
        if self.last_step >= 0:
            values = self._get_value()
        else:
            self.last_step = -1  # until `begin`
            if state_dict['begin'] <= self._global_step:  # it was earlier, and has moved the rate
                values = self.base_values
        for group, value in zip(groups, values, strict=True):
            group['lr'] = value
        self._last_value = list(values)

    def share(self, t: int) -> float:
        """Share of the way from min_lr to lr at step t, from the end of the warm-up on."""
        raise NotImplementedError

    def _get_value(self) -> list[float]:
        t, warmup, start = self.last_step, self.warmup, self.start_factor
        values = []
        for lr, group in zip(self.base_values, self.optimizer.param_groups, strict=True):
            if t < warmup:
                begin = lr * start
                values.append(begin + (lr - begin) * t / warmup if start else lr * t / warmup)
                continue
            floor = self.min_lr * group.get('lr_scale', 1.0)
            values.append(floor + (lr - floor) * self.share(t))
        return values


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(WarmupLR):
    """Half a cosine behind the warm-up: the recipe of pre-training and fine-tuning.

    min_lr + (lr - min_lr) * (1 + cos(pi * (t - W) / (T - W))) / 2.
    """

    def share(self, t: int) -> float:
        """Half a cosine."""
        return (1 + math.cos(math.pi * (t - self.warmup) / (self.length - self.warmup))) / 2


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(WarmupLR):
    """A power of the remaining share of the run behind the warm-up: segmentation's recipe.

    min_lr + (lr - min_lr) * ((T - t) / (T - W)) ** power.

    Args:
        power: 1 is a straight line.
        options: see `WarmupLR`.

    Raises:
        ValueError: a power that is not positive, at which the rate would not fall.
    """

    def __init__(self, optimizer: OptimWrapper, *, power: float = 1.0, **options: Any) -> None:
        if power <= 0:
            raise ValueError(f'param_scheduler.power must be positive, not {power}')
        self.power = power
        super().__init__(optimizer, **options)

    def share(self, t: int) -> float:
        """A power of what remains."""
        remaining = (self.length - t) / (self.length - self.warmup)
        return float(remaining**self.power)


@PARAM_SCHEDULERS.register_module()
class WarmupStepLR(WarmupLR):
    """Falls by a factor at given shares of the run: ViTDet's recipe.

    Args:
        milestones: shares of the run in (0, 1), rising.
        gamma: factor at each.
        options: see `WarmupLR`.

    Raises:
        ValueError: milestones that are no rising shares.
    """

    def __init__(
        self,
        optimizer: OptimWrapper,
        *,
        milestones: Sequence[float],
        gamma: float = 0.1,
        **options: Any,
    ) -> None:
        rising = list(milestones) == sorted(set(milestones))
        if not milestones or not rising or not 0 < milestones[0] <= milestones[-1] < 1:
            raise ValueError(
                'param_scheduler.milestones must be rising shares of the run in (0, 1), not '
                f'{list(milestones)}'
            )
        self.milestones = tuple(milestones)
        self.gamma = gamma
        # Once for all: exact products take longer than the rest of an update.
        length = options['end'] - options.get('begin', 0)
        self.falls = [round(exact(share) * length) for share in milestones]
        super().__init__(optimizer, **options)

    def share(self, t: int) -> float:
        """The factor to the number of milestones that are behind."""
        return float(self.gamma ** bisect_right(self.falls, t))


def _fitting(warmup_epochs: float, begin: float, end: int) -> float:
    """Epochs of warm-up between two epochs of a run, which may be shorter than the recipe's."""
    if not warmup_epochs >= 0:  # or no number
        raise ConfigError(
            f'param_scheduler.warmup_epochs must not be negative, got {warmup_epochs}'
        )
    length = end - begin
    if warmup_epochs == 0 or warmup_epochs < length:
        return warmup_epochs
    message = (
        f'param_scheduler.warmup_epochs={warmup_epochs} does not fit train_cfg.max_epochs={end}: '
        f'{length / 10:g} epochs of warm-up, a tenth of the run, take their place'
    )
    print_log(message, 'current', logging.WARNING)
    return length / 10
