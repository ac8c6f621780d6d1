"""What a step tells the host about itself, a few steps later and without waiting for the device."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from torch import Tensor


@dataclass(frozen=True)
class StepReport:
    """How a step went; the same in all processes.

    Attributes:
        step: number of the step, from 0.
        skipped: the weights stayed as they were, because a loss or gradient was not finite.
        stop: some process has got a signal to stop.
        loss: mean over the global batch.
    """

    step: int
    skipped: bool
    stop: bool
    loss: float


class Reports:
    """Reports on their way to the host.

    On a GPU a report is copied in the background and read `lag` steps later, when it has long
    arrived; that the lag is fixed keeps the processes together, which act on what they read.

    Args:
        lag: steps that may be under way.
    """

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self._waiting: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()

    def push(self, step: int, values: Tensor) -> None:
        """Send off a step's (skipped, stop, loss), float (3,)."""
        event = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._waiting.append((step, values, event))

    def due(self, lag: int | None = None) -> Iterator[StepReport]:
        """Take those that are `lag` steps old; 0 waits for all."""
        lag = self.lag if lag is None else lag
        while len(self._waiting) > lag:
            yield _read(*self._waiting.popleft())

    def peek(self) -> list[StepReport]:
        """All that are under way, which stay so; waits for the device."""
        return [_read(*entry) for entry in self._waiting]

    def clear(self) -> None:
        """Forget what is under way."""
        self._waiting.clear()


def measure(
    outputs: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    skipped: Tensor,
    stop_requested: bool,
) -> tuple[dict[str, Tensor], Tensor]:
    """What a step put out, as one process would have: one exchange carries all of it.

    Args:
        outputs: of each micro-batch of this process; `loss` among them.
        weights: of the micro-batches.
        skipped: float (), whether the step changed nothing.
        stop_requested: whether this process has got a signal to stop.

    Returns:
        The means over the global batch by name, and (skipped, stop, loss), float (3,).
    """
    names = sorted(outputs[0], key=lambda name: name != 'loss')  # which thus comes third below
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
