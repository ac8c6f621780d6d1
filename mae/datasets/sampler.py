"""Which process reads which sample at which step: a function of (seed, epoch, step)."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mae.registry import DATA_SAMPLERS
from mae.utils.errors import ConfigError
from mae.utils.hashing import derive, sample_keys

Requests = list[tuple[int, int]]

_ORDER = 0x6F72646572  # b'order': a stream of random numbers beside the samples' keys


@DATA_SAMPLERS.register_module()
class GlobalBatchSampler(Sampler[Requests]):
    """Micro-batches of (sample id, key) that make up the same global batches on 1 or 64 devices.

    Global batch b is `order[b*G : (b+1)*G]`. With at most m samples per micro-batch and W ranks it
    takes A = ceil(G / (m*W)) micro-steps, and is cut into P = A*W parts, whose sizes differ by at
    most one: part p begins at `b*G + p*G // P`, and micro-step a of rank r takes part a*W + r.

    Args:
        dataset: only its length matters.
        batch_size: m.
        global_batch_size: G, at least W, and a multiple of W where m is 1; by default m*W.
        seed: seeds the order and the samples' keys.
        shuffle: False keeps the dataset's order.
        drop_last: True drops the last, smaller global batch. False splits it evenly over the fewest
            micro-steps that it fits into, and drops at most W - 1 samples, with which some rank
            would have none.
        num_repeats: times that a sample occurs in an epoch, each with its own id and so its own
            augmentation (repeated augmentation, Hoffer et al. 2020).
        rank, world_size: None takes those of torch.distributed.

    Raises:
        ConfigError: the numbers do not fit together; names some that would.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        batch_size: int,
        global_batch_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        num_repeats: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.rank, self.world_size = rank_and_world_size(rank, world_size)
        if batch_size < 1 or num_repeats < 1:
            raise ConfigError(
                f'batch_size and num_repeats must be >= 1, got {batch_size} and {num_repeats}'
            )
        slots = batch_size * self.world_size  # samples that one micro-step of all ranks takes
        self.global_batch_size = slots if global_batch_size is None else global_batch_size
        require_parts(self.global_batch_size, batch_size, self.world_size)
        self.batch_size = batch_size
        self.accumulation = -(-self.global_batch_size // slots)
        self.seed = seed
        self.shuffle = shuffle
        self.num_samples = len(dataset) * num_repeats
        require_samples(self.num_samples, self.world_size)
        self._full_steps, rest = divmod(self.num_samples, self.global_batch_size)
        if drop_last or rest < self.world_size:
            rest = 0
        elif batch_size == 1:  # nothing to even out: only whole rounds give every rank a sample
            rest -= rest % self.world_size
        self._rest = rest
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f'the dataset has {self.num_samples} samples, less than one global batch of '
                f'{self.global_batch_size}; set global_batch_size to '
                f'{_handy(self.num_samples, self.world_size)}, say, and the learning rate follows, '
                'or train_dataloader.sampler.drop_last=False'
            )
        self.set_position(0)

    def set_position(self, epoch: int, step: int = 0) -> None:
        """The next iteration begins at global batch `step` of `epoch`."""
        self.epoch = epoch
        self.step = step

    @property
    def steps_per_epoch(self) -> int:
        """Global batches in an epoch: optimizer steps."""
        return self._full_steps + bool(self._rest)

    def step_size(self, step: int) -> int:
        """Samples of all ranks in global batch `step` of an epoch."""
        return self.global_batch_size if step < self._full_steps else self._rest

    def micro_steps(self, step: int) -> int:
        """Micro-batches of each rank in global batch `step`: `accumulation`, or fewer at last."""
        return -(-self.step_size(step) // (self.batch_size * self.world_size))

    def __len__(self) -> int:
        """Micro-batches of this rank in a whole epoch."""
        return self._full_steps * self.accumulation + self.micro_steps(self._full_steps)

    def __iter__(self) -> Iterator[Requests]:
        ids = self._order()
        keys = sample_keys(self.seed, self.epoch, ids)
        for step in range(self.step, self.steps_per_epoch):
            start, size = step * self.global_batch_size, self.step_size(step)
            parts = self.micro_steps(step) * self.world_size
            for part in range(self.rank, parts, self.world_size):
                chunk = slice(start + part * size // parts, start + (part + 1) * size // parts)
                yield list(zip(ids[chunk].tolist(), keys[chunk].tolist(), strict=True))

    def _order(self) -> torch.Tensor:
        """Sample ids of the epoch, int64 (N,)."""
        ids = torch.arange(self.num_samples)
        if not self.shuffle:
            return ids
        return sample_keys(derive(self.seed, _ORDER), self.epoch, ids).argsort(stable=True)


def rank_and_world_size(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """(rank, world size), where None takes that of the running processes."""
    here, number = get_dist_info()
    rank = here if rank is None else rank
    world_size = number if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ConfigError(f'rank must lie in 0..{world_size - 1}, got {rank}')
    return rank, world_size


def require_samples(num_samples: int, world_size: int) -> None:
    """Raises ConfigError unless every process can have a sample."""
    if num_samples < world_size:
        raise ConfigError(f'more processes than samples: {world_size} and {num_samples}')


def _handy(num_samples: int, world_size: int) -> int:
    """A global batch with which `num_samples` make about four steps or more."""
    return world_size << max(0, (num_samples // (4 * world_size)).bit_length() - 1)


def require_parts(total: int, batch_size: int, world_size: int) -> None:
    """Raises ConfigError unless every process has a sample of a global batch in each micro-step."""
    if total < world_size:
        raise ConfigError(
            f'more processes than samples of a batch: {world_size} and global_batch_size={total}'
        )
    if batch_size == 1 and total % world_size:
        lower = total // world_size * world_size
        raise ConfigError(
            f'batch_size=1 leaves some of {world_size} processes without a sample of '
            f'global_batch_size={total}; take batch_size 2, or global_batch_size {lower} or '
            f'{lower + world_size}'
        )
