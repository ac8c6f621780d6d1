"""A system in the race: how long its steps take, what memory they need, and what it computes."""

from typing import Any

from mae.benchmark.job import Job
from mae.benchmark.measure import clock
from mae.benchmark.memory import activation_bytes_per_image, static_bytes
from mae.benchmark.report import Figures


class Entrant:
    """A system at its start.

    Args:
        system: with `step()`, `check()` and `switch`; to tell its memory, a `Trainee`.
        job: the comparison.
    """

    def __init__(self, system: Any, job: Job) -> None:
        self._check: float = system.check()  # before the first step
        self._system = system
        self._job = job

    def facts(self) -> Figures:
        """The setting of this variant, and a figure that all systems should agree on."""
        return {'check': self._check, 'switch': self._system.switch}

    def seconds(self, steps: int) -> float:
        """That so many steps take."""
        return clock(self._system.step, self._job.device)(steps)

    def memory(self) -> Figures:
        """Bytes of activations an image, and of everything at the peak."""
        loss, model = self._system.loss, self._system.model
        size, device = self._job.batch_size, self._job.device
        whole, each = activation_bytes_per_image(loss, model, size, device)
        return {
            'activation_bytes_per_image': each,
            'peak_memory_bytes': static_bytes(model) + whole,
        }
