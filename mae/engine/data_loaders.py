"""A data loader from its config; its batch sampler decides everything."""

import copy
from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from mae.engine.batch import batch_per_device
from mae.engine.workers import prepare_worker
from mae.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from mae.utils.errors import ConfigError


def build_data_loader(
    config: Mapping[str, Any], seed: int, global_batch_size: int | None, world_size: int
) -> DataLoader[Any]:
    """Build dataset, sampler and loader.

    Args:
        config: with `dataset`, `sampler`, `batch_size`, `collate_fn`; the rest goes to
            `torch.utils.data.DataLoader`.
        seed: of the run.
        global_batch_size: samples of an optimizer step; None: what fits without accumulation.
        world_size: number of processes.

    Raises:
        ConfigError: something is missing, or the dataset cannot be seeded.
    """
    options = copy.deepcopy(dict(config))
    for key in ('dataset', 'sampler', 'batch_size'):
        if not options.get(key):
            raise ConfigError(f'a data loader of the config is incomplete: {key} is missing')
    dataset = DATASETS.build(options.pop('dataset'))
    if not hasattr(dataset, '__getitems__'):
        raise ConfigError(
            f'{type(dataset).__name__} takes no (sample id, key): give it to a dataset of '
            "type='SeededDataset' as its source"
        )
    sampler: dict[str, Any] = dict(options.pop('sampler'))
    batch_size: int = options.pop('batch_size')
    given = {'dataset': dataset, 'batch_size': batch_size}
    if sampler['type'] == 'GlobalBatchSampler':
        given['seed'] = seed  # evaluation draws the same masks whatever the run's seed
        if global_batch_size is not None:
            given['batch_size'] = batch_per_device(batch_size, global_batch_size, world_size)
            given['global_batch_size'] = global_batch_size
    collate = FUNCTIONS.get(options.pop('collate_fn', {'type': 'collate'})['type'])
    if (ahead := options.get('prefetch_factor')) is not None and ahead < 1:
        raise ConfigError(f"a data loader's prefetch_factor must be at least 1, not {ahead}")
    if not options.get('num_workers'):
        options.pop('persistent_workers', None)
        options.pop('prefetch_factor', None)
    return DataLoader(
        dataset,
        batch_sampler=DATA_SAMPLERS.build(sampler, default_args=given),
        collate_fn=collate,
        worker_init_fn=prepare_worker,
        **options,
    )
