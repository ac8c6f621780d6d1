"""Outcome of a step for the host: read a few steps later, without waiting for the device."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from torch import Tensor


@dataclass(frozen=True)
class StepReport:
    """Outcome of a step, the same in all processes.

    Attributes:
        step: number of the step, from 0.
        skipped: the weights did not change, because a loss or gradient was not finite.
        stop: some process has received a stop signal.
        loss: mean over the global batch.
    """

    step: int
    skipped: bool
    stop: bool
    loss: float


class Reports:
    """Queue of reports that are copied to the host.

    On a GPU a report is copied in the background and read `lag` steps later, when the copy is
    complete. With a fixed lag all processes act on a report at the same step.

    Args:
        lag: number of reports that stay in the queue.
    """

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self._waiting: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()

    def push(self, step: int, values: Tensor) -> None:
        """Start the copy of (skipped, stop, loss), float (3,)."""
        event = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._waiting.append((step, values, event))

    def due(self, lag: int | None = None) -> Iterator[StepReport]:
        """Remove and return the reports that are `lag` steps old; 0 waits for all."""
        lag = self.lag if lag is None else lag
        while len(self._waiting) > lag:
            yield _read(*self._waiting.popleft())

    def peek(self) -> list[StepReport]:
        """All reports in the queue, which stay there; waits for the device."""
        return [_read(*entry) for entry in self._waiting]

    def clear(self) -> None:
        """Drop all reports in the queue."""
        self._waiting.clear()


def measure(
    outputs: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    skipped: Tensor,
    stop_requested: bool,
) -> tuple[dict[str, Tensor], Tensor]:
    """Means of the outputs over the global batch, and the report, in one all-reduce.

    Args:
        outputs: results of each micro-batch of this process, with `loss` among them.
        weights: weight of each micro-batch in the mean.
        skipped: float (), 1 if the step changed nothing.
        stop_requested: whether this process has received a stop signal.

    Returns:
        The means over the global batch by name, and (skipped, stop, loss), float (3,).
    """
    names = sorted(outputs[0], key=lambda name: name != 'loss')  # loss first: third in `values`
    means = [
        _sum([output[name].detach() * w for output, w in zip(outputs, weights, strict=True)])
        for name in names
    ]
    flags = [skipped, torch.full_like(skipped, float(stop_requested))]
    values = torch.stack([*flags, *(mean.float() for mean in means)])
    all_reduce(values, op='mean')
    return dict(zip(names, values[2:].unbind(), strict=True)), values[:3]


def _sum(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def _read(step: int, values: Tensor, event: torch.cuda.Event | None) -> StepReport:
    if event is not None:
        event.synchronize()
    skipped, stop, loss = values.tolist()
    return StepReport(step, skipped > 0, stop > 0, loss)
