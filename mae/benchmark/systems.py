"""Ours and the peers, each in a worker process of its own, a peer with its fastest setting."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import mae.datasets
import mae.models
from mae.benchmark import FUNCTIONS, OURS
from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.memory import activation_bytes_per_image, static_bytes
from mae.benchmark.ours import TASKS
from mae.benchmark.report import Figures
from mae.benchmark.settings import Settings
from mae.benchmark.worker import Worker, WorkerError
from mae.utils.allocator import keep_freed_memory

assert mae.datasets  # their classes are registered, in each process
assert mae.models

Variants = Mapping[str, Callable[[], Any]]  # by the switch they set


class TimedSystem:
    """Measures a system inside its worker process: steps, memory, and a figure to compare.

    Args:
        system: with `step()`, `check()` and `switch`; for `memory`, a `TrainingSystem`.
    """

    def __init__(self, system: Any, settings: Settings) -> None:
        self._check: float = system.check()  # before the first step
        self._system = system
        self._settings = settings

    def facts(self) -> Figures:
        """`switch`, and `check`: a figure that all systems should agree on."""
        return {'check': self._check, 'switch': self._system.switch}

    def seconds(self, steps: int) -> float:
        """Seconds of that many steps."""
        settings = self._settings
        clock = clock_of(self._system.step, settings.device, cpu_time=settings.cpu_time)
        return clock(steps)

    def memory(self) -> Figures:
        """Bytes of activations an image, and of everything at the peak."""
        loss, model = self._system.loss, self._system.model
        size, device = self._settings.batch_size, self._settings.device
        least = self._settings.least_batch
        whole, each = activation_bytes_per_image(loss, model, size, device, least=least)
        return {
            'activation_bytes_per_image': each,
            'peak_memory_bytes': static_bytes(model) + whole,
        }


@contextmanager
def start_systems(
    task: str, peers: Iterable[str], settings: Settings, *, equal_allocator: bool = False
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start all systems, and end their processes afterwards.

    Args:
        task: a key of `mae.benchmark.ours.TASKS`, and the function that a peer's module offers
            (see `FUNCTIONS`).
        peers: names of modules in `mae.benchmark.peers`.
        equal_allocator: peers keep freed memory, as our runs on a CPU do.

    Yields:
        The `Worker` of each system that runs, ours first, around a `TimedSystem`; of the others the
        reason in one line.

    Raises:
        WorkerError: ours does not run.
    """
    found, skipped = {}, {}
    with ExitStack() as stack:
        for name in (OURS, *peers):
            keep = name == OURS or equal_allocator
            try:
                found[name] = Worker(name, partial(build_system, task, name, settings, keep=keep))
            except WorkerError as failure:
                if name == OURS:
                    raise
                skipped[name] = str(failure)
                print(f'skipped {name}: {failure}', flush=True)
            else:
                stack.callback(found[name].close)
        yield found, skipped


def build_system(task: str, name: str, settings: Settings, *, keep: bool) -> TimedSystem:
    """Build a system in this process.

    Args:
        task: see `start_systems`.
        name: 'mae' or a peer.
        keep: keep freed memory, as `mae.engine.Runner` does on a CPU.
    """
    if keep and settings.device.type == 'cpu':
        keep_freed_memory()
    prepare, ours = TASKS[task]
    inputs = prepare(settings)
    if name == OURS:
        return TimedSystem(ours(inputs), settings)
    module = import_module(f'mae.benchmark.peers.{name}')
    variants = getattr(module, FUNCTIONS.get(task, task))(inputs)
    return fastest(variants, settings, name)


def fastest(variants: Variants, settings: Settings, name: str) -> TimedSystem:
    """The variant with the shortest step, of those that run at all.

    Raises:
        Exception: none runs; the exception of the last one.
    """
    candidates, failure = {}, None
    for switch, build in variants.items():
        print(f'starting {name} {switch}'.rstrip(), flush=True)
        try:
            candidate = TimedSystem(build(), settings)
            candidate.seconds(2)
        except Exception as error:
            failure = error
        else:
            candidates[switch] = candidate
    if not candidates:
        assert failure is not None
        raise failure
    if len(candidates) == 1:
        return candidates.popitem()[1]
    clocks = {switch: candidate.seconds for switch, candidate in candidates.items()}
    timings = alternate(clocks, rounds=3, steps=1, warmup=0)
    chosen = candidates[min(timings, key=lambda switch: timings[switch].median)]
    del candidates, candidate, clocks
    gc.collect()
    return chosen
