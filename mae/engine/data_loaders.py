"""Data loaders from configs: those with a batch sampler of this toolbox."""

import copy
import logging
import warnings
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from mae.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, find
from mae.utils.data_workers import prepare_worker
from mae.utils.errors import ConfigError
from mae.utils.hardware import cores_at_hand

# One GPU needs no more, even where each image takes several milliseconds.
_MOST_WORKERS = 16


def has_own_sampler(config: Mapping[str, Any]) -> bool:
    """Whether the sampler in a data loader's config is a batch sampler of this toolbox.

    Raises:
        ConfigError: dataset or sampler is missing.
    """
    _require(config, 'dataset', 'sampler')
    sampler = config['sampler']
    if not isinstance(sampler, Mapping):
        return False
    return find(DATA_SAMPLERS, sampler.get('type')) in DATA_SAMPLERS.module_dict.values()


def with_global_batch(config: Mapping[str, Any], global_batch_size: int | None) -> dict[str, Any]:
    """A data loader's config with the global batch size set in its `GlobalBatchSampler`, if any.

    Args:
        global_batch_size: samples of an optimizer step; None: one micro-batch of each process.
    """
    changed = dict(config)
    if global_batch_size is not None and has_own_sampler(config):
        sampler = find(DATA_SAMPLERS, config['sampler']['type'])
        if 'global_batch_size' in signature(sampler).parameters:
            changed['sampler'] = {'global_batch_size': global_batch_size, **config['sampler']}
    return changed


def auto_workers(cores: int) -> int:
    """Data workers of `num_workers='auto'`: 2 less than the cores, at least 1.

    The two are for the main process and the thread that pins memory.
    """
    return max(1, min(cores - 2, _MOST_WORKERS))


def with_workers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A data loader's config with `num_workers='auto'` as a number; see `auto_workers`.

    A number above the cores is kept, with a line in the log.
    """
    changed, cores = dict(config), cores_at_hand()
    if changed.get('num_workers') == 'auto':
        changed['num_workers'] = auto_workers(cores)
    elif isinstance(number := changed.get('num_workers'), int) and number > cores:
        print_log(
            f'num_workers={number}, but this process has {cores} cores, which they share; '
            "num_workers='auto' takes as many as there are cores for",
            'current',
            logging.WARNING,
        )
    return changed


def build_data_loader(config: Mapping[str, Any], seed: int) -> DataLoader[Any]:
    """Build dataset, batch sampler and loader.

    Args:
        config: with `dataset`, which may be built already, `sampler`, `batch_size`, `collate_fn`;
            the rest goes to `torch.utils.data.DataLoader`. With `sampler.global_batch_size` the
            batch of a process is `batch_size` or, where that does not divide its share, the next
            smaller that does; where there is none, batches of at most `batch_size` differ by one
            image.

    Raises:
        ConfigError: something is missing, a number too small, or the dataset cannot be seeded.
    """
    _require(config, 'dataset', 'sampler', 'batch_size')
    options = copy.deepcopy({key: value for key, value in config.items() if key != 'dataset'})
    dataset = config['dataset']
    for key, least in (('batch_size', 1), ('num_workers', 0), ('prefetch_factor', 1)):
        if (number := options.get(key)) is not None and number < least:
            raise ConfigError(f'{key} must be at least {least}, not {number}')
    if isinstance(dataset, Mapping):
        dataset = DATASETS.build(copy.deepcopy(dataset))
    if not hasattr(dataset, '__getitems__'):
        raise ConfigError(
            f'{type(dataset).__name__} takes no (sample id, key): give it to a dataset of '
            "type='SeededDataset' as its source"
        )
    sampler: dict[str, Any] = dict(options.pop('sampler'))
    batch_size: int = options.pop('batch_size')
    arguments = {'dataset': dataset, 'batch_size': batch_size}
    if 'global_batch_size' in signature(find(DATA_SAMPLERS, sampler['type'])).parameters:
        arguments['seed'] = seed  # not in evaluation, whose masks do not depend on the run's seed
        if (total := sampler.get('global_batch_size')) is not None:
            arguments['batch_size'] = batch_per_device(batch_size, total, get_world_size())
    collate = FUNCTIONS.get(options.pop('collate_fn', {'type': 'collate'})['type'])
    if options.get('pin_memory') and not torch.cuda.is_available():
        options['pin_memory'] = False  # or torch warns at each epoch
    if not options.get('num_workers'):
        options.pop('persistent_workers', None)
        options.pop('prefetch_factor', None)
    with warnings.catch_warnings():  # `with_workers` has said it, in one line
        warnings.filterwarnings('ignore', 'This DataLoader will create', UserWarning)
        return DataLoader(
            dataset,
            batch_sampler=DATA_SAMPLERS.build(sampler, default_args=arguments),
            collate_fn=collate,
            worker_init_fn=prepare_worker,
            **options,
        )


def batch_per_device(most: int, global_batch_size: int, world_size: int) -> int:
    """The largest batch that divides a device's share of the global batch and fits the device.

    Args:
        most: `batch_size` of the config: images that fit a device.
        global_batch_size: images of an optimizer step over all devices.

    Returns:
        At least half of `most`, or of the share where that is smaller; failing that `most`
        itself, and the sampler makes batches that differ by one image.
    """
    share, rest = divmod(global_batch_size, world_size)
    largest = min(most, share)
    if rest or largest < 1:
        return most
    fitting = (size for size in range(largest, (largest - 1) // 2, -1) if share % size == 0)
    return next(fitting, most)


def _require(config: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if config.get(key) in (None, {}):
            raise ConfigError(f'a data loader of the config is incomplete: {key} is missing')
