"""A data loader seen step by step: all micro-batches of this process's share of a global batch."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

Batch = dict[str, Any]


class StepLoader:
    """Iterates over the optimizer steps of an epoch, from any step on.

    Offers what mmengine's hooks ask of a loader: `len` (steps an epoch), `dataset`, `sampler`.

    Args:
        loader: with a `GlobalBatchSampler` as its batch sampler.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.dataset = loader.dataset
        self.batch_sampler: Any = loader.batch_sampler
        self.sampler = self.batch_sampler

    def __len__(self) -> int:
        steps: int = self.batch_sampler.steps_per_epoch
        return steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step of an epoch, finding the first one without reading."""
        self.batch_sampler.set_position(epoch, first_step)
        batches = iter(self.loader)
        for step in range(first_step, len(self)):
            yield list(islice(batches, self.batch_sampler.micro_steps(step)))

    def step_size(self, step: int) -> int:
        """Samples of a step, over all processes."""
        size: int = self.batch_sampler.step_size(step)
        return size
