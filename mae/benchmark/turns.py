"""A data loader that takes turns: a runner's iterations, then as many of a bare loop.

It lives inside the runner's own loop, so what is timed is the loop and the hooks as they are.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mae.benchmark.measure import synchronize

_WARMUP = 5
Batch = dict[str, Any]
Seconds = tuple[float, ...]


class Turns:
    """Hands out one batch again and again, and times what is done with it.

    First with the real step, then with an idle one, which returns at once what a real one
    returned: there the cost of the runner stands alone, without the noise of the step. Iterations
    before `at` are idle too: hooks, logs and histories see as many as they would.

    Args:
        loader: what it stands for: its `dataset`, `batch_sampler` and `sampler` are shown.
        at: iterations before the first that counts.
        rounds: number of figures.
        steps: iterations of a round.
        device: where the steps run.
    """

    def __init__(
        self, loader: Any, *, at: int, rounds: int, steps: int, device: torch.device
    ) -> None:
        self.dataset = loader.dataset
        self.batch_sampler = loader.batch_sampler
        self.sampler: Any = loader.sampler
        self._at = max(at, _WARMUP)
        self._rounds = rounds
        self._steps = steps
        self._device = device
        self._outputs: dict[str, Any] = {}
        self._times: dict[str, list[float]] = {}

    def attach(self, model: Any, batch: Batch, bare: Callable[[], object]) -> None:
        """What is trained, on what, and an iteration of the bare loop."""
        self._model = model
        self._batch = batch
        self._bare = bare

    def seconds(self, loop: str, step: str) -> Seconds:
        """Seconds per iteration, round by round.

        Args:
            loop: 'runner' or 'bare'.
            step: 'real' or 'idle'.
        """
        return tuple(self._times[f'{loop} {step}'])

    def __len__(self) -> int:
        return self._at + 2 * self._rounds * self._steps + 1

    def __iter__(self) -> Iterator[Batch]:
        """As mmengine's loops read a loader."""
        for _ in range(_WARMUP):
            yield self._batch
        self._remember_outputs()
        with self._idle_step():
            yield from self._pass(self._at - _WARMUP)
        yield from self._take_turns('real')
        with self._idle_step():
            yield from self._take_turns('idle')
        yield self._batch  # a loop that counts asks for it, and so ends the last round

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[Batch]]:
        """As our `TrainLoop` reads a loader."""
        for batch in self:
            yield [batch]

    def step_size(self, step: int) -> int:
        """Samples of a step."""
        return len(self._batch['ids'])

    def _pass(self, number: int) -> Iterator[Batch]:
        """Let `number` iterations go by."""
        for _ in range(number):
            yield self._batch

    def _take_turns(self, step: str) -> Iterator[Batch]:
        for number in range(self._rounds):
            if number % 2:
                self._time_bare(step)
            start = self._now()
            yield from self._pass(self._steps)
            self._note(f'runner {step}', start)
            if not number % 2:
                self._time_bare(step)

    def _time_bare(self, step: str) -> None:
        start = self._now()
        for _ in range(self._steps):
            self._bare()
        self._note(f'bare {step}', start)

    def _note(self, name: str, start: float) -> None:
        self._times.setdefault(name, []).append((self._now() - start) / self._steps)

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()

    def _remember_outputs(self) -> None:
        step = self._model.train_step

        def observed(*args: Any, **kwargs: Any) -> Any:
            outputs = step(*args, **kwargs)
            self._outputs = dict(outputs)
            return outputs

        self._model.train_step = observed
        self._bare()
        del self._model.train_step

    @contextmanager
    def _idle_step(self) -> Iterator[None]:
        self._model.train_step = lambda *args, **kwargs: dict(self._outputs)
        yield
        del self._model.train_step
