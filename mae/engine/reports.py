"""What a step tells the host about itself, a few steps later and without waiting for the device."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepReport:
    """How a step went; the same in all processes.

    Attributes:
        step: number of the step, from 0.
        skipped: the weights stayed as they were, because a loss or gradient was not finite.
        stop: some process has been asked to stop.
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
        self._waiting: deque[tuple[int, Tensor, Any]] = deque()

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


def _read(step: int, values: Tensor, event: Any) -> StepReport:
    if event is not None:
        event.synchronize()
    skipped, stop, loss = values.tolist()
    return StepReport(step, skipped > 0, stop > 0, loss)
