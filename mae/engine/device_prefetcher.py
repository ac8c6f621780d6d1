"""Steps of a data loader: the micro-batches of a global batch, and their way to the device."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from mmengine.device import get_device
from torch.utils.data import DataLoader

Batch = dict[str, Any]

_COPIED = ('inputs',)  # what is large and needed on the device, by its name in a batch


class StepLoader:
    """Iterates over the optimizer steps of an epoch, from any step on.

    mmengine's hooks use `len` (steps per epoch), `dataset` and `sampler`.

    Args:
        loader: with a `GlobalBatchSampler` as its batch sampler.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.dataset = loader.dataset
        self.batch_sampler: Any = loader.batch_sampler
        self.sampler = self.batch_sampler
        self.num_workers = loader.num_workers
        self.prefetcher = DevicePrefetcher(torch.device(get_device()))

    def __len__(self) -> int:
        steps: int = self.batch_sampler.steps_per_epoch
        return steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step of an epoch, on the host, perhaps in pinned memory.

        Args:
            first_step: steps before it are not read.
        """
        self.batch_sampler.set_position(epoch, first_step)
        batches = iter(self.loader)
        for step in range(first_step, len(self)):
            micro_batches = islice(batches, self.batch_sampler.micro_steps(step))
            yield list(micro_batches)

    def step_size(self, step: int) -> int:
        """Number of samples of a step, over all processes."""
        size: int = self.batch_sampler.step_size(step)
        return size


class DevicePrefetcher:
    """Copies images to the device on a separate stream, while the previous step runs.

    The host is ahead of the device, so the copy of the next batch overlaps with the computation of
    this one. Labels, ids and keys stay on the host, which checks them.

    Args:
        device: nothing is copied unless it is a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == 'cuda' else None

    def to_device(self, batch: Batch) -> Batch:
        """The batch with `inputs` on the device, ready for the current stream."""
        if self._stream is None:
            return batch
        with torch.cuda.stream(self._stream):
            copied = {
                name: batch[name].to(self.device, non_blocking=True)
                for name in _COPIED
                if name in batch
            }
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        for tensor in copied.values():
            tensor.record_stream(current)  # or its memory could be reused too early
        return {**batch, **copied}
