"""The learning rate of a config over its run, by the scheduler that would train."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode

from mae.config import load_config
from mae.engine.data_loaders import batch_per_device, has_own_sampler, with_global_batch
from mae.engine.loops import TrainLoop
from mae.engine.optim.rate import with_rate
from mae.engine.optim.schedule import at_each_step
from mae.evaluation.checks import is_count
from mae.registry import (
    DATA_SAMPLERS,
    DATASETS,
    LOOPS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    PARAM_SCHEDULERS,
    find,
)
from mae.utils.errors import ConfigError, DataError
from mae.utils.ratio import evenly_spaced
from mae.visualization.curves import Series, line_chart
from mae.visualization.figures import Drawing

_POINTS = 400  # of a curve


@dataclass(frozen=True)
class LearningRates:
    """Learning rates of a run.

    Attributes:
        steps: optimizer steps of the run.
        steps_per_epoch: optimizer steps of an epoch.
        highest: learning rate at each step, of the parameters that learn fastest.
        lowest: likewise, of those that learn slowest: with layer-wise decay the first layer's.
        line: how the peak follows from batch and base rate; empty if the config states it.
    """

    steps: int
    steps_per_epoch: int
    highest: list[float]
    lowest: list[float]
    line: str


def draw_schedule(config: str | Path | Config, *, num_images: int | None = None) -> Drawing:
    """The learning rate over the epochs of a run, or over its steps if it is in steps.

    Args:
        config: path, name of a shipped config, or `Config`, of a training.
        num_images: of an epoch; None asks the training dataset, which must then be there.

    Raises:
        ConfigError: the config describes no training by `TrainLoop`, or no schedule.
        DataError: the dataset is not there.
        ValueError: `num_images` is no count.
    """
    config = load_config(config)
    rates = learning_rates(config, num_images=num_images)
    in_epochs = config.train_cfg.get('max_epochs') is not None
    chosen = evenly_spaced(rates.steps, _POINTS)
    x = [step / rates.steps_per_epoch if in_epochs else float(step) for step in chosen]
    series = [Series('fastest', x, [rates.highest[step] for step in chosen])]
    if rates.lowest != rates.highest:
        series.append(Series('slowest', x, [rates.lowest[step] for step in chosen]))
    title = f'Learning rate of {config_name(config)}'
    unit = 'epoch' if in_epochs else 'step'
    svg = line_chart(series, title=title, x_label=unit, y_label='lr')
    length = f'{rates.steps} steps, {rates.steps_per_epoch} an epoch'
    return Drawing(title, svg, '; '.join(part for part in (rates.line, length) if part))


def learning_rates(config: Config, *, num_images: int | None = None) -> LearningRates:
    """The learning rates of all steps on one device, as the log of the run would have them.

    Args:
        config: as of `draw_schedule`.
        num_images: as of `draw_schedule`.

    Raises:
        ConfigError: as of `draw_schedule`.
        DataError: as of `draw_schedule`.
        ValueError: as of `draw_schedule`.
    """
    if num_images is not None and not is_count(num_images):
        raise ValueError(f'num_images must be a whole number from 1 on, not {num_images!r}')
    require_training(config)
    sampler = _sampler(config, num_images)
    options, line = with_rate(config.optim_wrapper, config.get('base_lr'), sampler, 1)
    constructor = {
        'type': options.pop('constructor', 'DefaultOptimWrapperConstructor'),
        'paramwise_cfg': options.pop('paramwise_cfg', None),
        'optim_wrapper_cfg': options,
    }
    with FakeTensorMode():  # layer-wise decay needs the layers, and no values
        wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(MODELS.build(config.model))
    loop = config.train_cfg
    per_epoch: int = sampler.steps_per_epoch
    epochs, steps = loop.get('max_epochs'), loop.get('max_steps')
    total = steps or epochs * per_epoch
    groups = sorted(wrapper.param_groups, key=lambda group: group['lr'])
    # A formula of a group's rate alone: the others would only take time.
    wrapper.optimizer.param_groups[:] = [groups[0], groups[-1]]
    schedulers = [
        PARAM_SCHEDULERS.build(
            {'end': epochs if item.get('by_epoch', True) else total, **item},
            default_args={'optimizer': wrapper, 'epoch_length': per_epoch},
        )
        for item in at_each_step(config.get('param_scheduler') or [], in_steps=bool(steps))
    ]
    lowest, highest = [], []
    with warnings.catch_warnings():  # mmengine misses the steps of the optimizer
        warnings.filterwarnings('ignore', 'Detected call of `scheduler.step', UserWarning)
        for _ in range(total):
            lowest.append(float(groups[0]['lr']))
            highest.append(float(groups[-1]['lr']))
            for scheduler in schedulers:
                scheduler.step()
    return LearningRates(total, per_epoch, highest, lowest, line)


def config_name(config: Config) -> str:
    """The name of its file, without the suffix."""
    return Path(getattr(config, 'filename', None) or 'a config').stem


def require_training(config: Config) -> None:
    """Refuse a config without the parts of a training by `TrainLoop`.

    Raises:
        ConfigError: names what is missing, or the other loop.
    """
    name = getattr(config, 'filename', None) or 'the config'
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg'):
        if not config.get(key):
            raise ConfigError(f'{name} describes no training: {key} is missing')
    loop = config.train_cfg.get('type')
    if find(LOOPS, loop) is not TrainLoop:
        raise ConfigError(f"{name}: train_cfg.type must be 'TrainLoop', not {loop!r}")
    for key in ('max_epochs', 'max_steps'):
        length = config.train_cfg.get(key)
        if length is not None and length < 1:
            raise ConfigError(f'{name}: train_cfg.{key} must be at least 1, not {length}')


def _sampler(config: Config, num_images: int | None) -> Any:
    """The batch sampler of one device, of the training images or of so many."""
    scaled = (config.get('auto_scale_lr') or {}).get('enable')
    total = None if scaled else config.get('global_batch_size')
    options = with_global_batch(config.train_dataloader, total)
    if not has_own_sampler(options):
        raise ConfigError("only schedules with train_dataloader.sampler.type='GlobalBatchSampler'")
    dataset = range(num_images) if num_images else _dataset(options['dataset'])
    sampler = dict(options['sampler'])
    total, most = sampler.get('global_batch_size'), options['batch_size']
    fitting = most if total is None else batch_per_device(most, total, 1)
    arguments = {'dataset': dataset, 'batch_size': fitting}
    return DATA_SAMPLERS.build(sampler, default_args=arguments)


def _dataset(options: Mapping[str, Any]) -> Any:
    try:
        return DATASETS.build(copy.deepcopy(dict(options)))
    except (DataError, OSError) as error:
        raise DataError(
            f'{error}; to draw the schedule without the images say how many there are (num_images)'
        ) from error
