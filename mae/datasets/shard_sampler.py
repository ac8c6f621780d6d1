"""Evaluation: every sample once, whatever the number of processes."""

from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler

from mae.datasets.sampler import Requests, rank_and_world_size, require_samples
from mae.registry import DATA_SAMPLERS
from mae.utils.errors import ConfigError
from mae.utils.hashing import sample_keys


@DATA_SAMPLERS.register_module()
class ShardSampler(Sampler[Requests]):
    """Rank r of W takes the r-th of W contiguous parts, whose sizes differ by at most one.

    Args:
        dataset: only its length matters.
        batch_size: samples per process and step; the last batch may be smaller.
        seed: seeds the samples' keys, always those of epoch 0, so that masks and losses repeat.
        rank, world_size: None takes those of torch.distributed.

    Raises:
        ConfigError: more processes than samples.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        rank, world_size = rank_and_world_size(rank, world_size)
        if batch_size < 1:
            raise ConfigError(f'batch_size must be >= 1, got {batch_size}')
        num_samples = len(dataset)
        require_samples(num_samples, world_size)
        self.batch_size = batch_size
        self.seed = seed
        self.start = rank * num_samples // world_size
        self.stop = (rank + 1) * num_samples // world_size

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Does nothing: every evaluation reads the same samples."""

    def __len__(self) -> int:
        return -(-(self.stop - self.start) // self.batch_size)

    def __iter__(self) -> Iterator[Requests]:
        ids = torch.arange(self.start, self.stop)
        keys = sample_keys(self.seed, 0, ids)
        for start in range(0, len(ids), self.batch_size):
            batch = slice(start, start + self.batch_size)
            yield list(zip(ids[batch].tolist(), keys[batch].tolist(), strict=True))
