"""Timing several systems interleaved, so that other load hits all alike; and the machine itself.

How fast the machine multiplies matrices is measured rather than looked up.
"""

import ctypes
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import torch

from mae.utils.hardware import cpu_name, gpu_name

Work = Callable[[], object]
Clock = Callable[[int], float]  # seconds that so many units of work take


@dataclass(frozen=True)
class Timing:
    """Seconds of one unit of work (a step, a pass, an iteration), once for each round.

    Attributes:
        rounds: seconds per unit, in the order of the rounds.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Interquartile range over the median; 0 with one round."""
        low, high = quartiles(self.rounds)
        return (high - low) / self.median


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """The first and the third, both within the values."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, high


def alternate(
    clocks: Mapping[str, Clock], *, rounds: int, steps: int, warmup: int = 1
) -> dict[str, Timing]:
    """Run all systems in rounds; in each, every system does `steps` units, in rotating order.

    Args:
        clocks: by name of a system, what times it.
        rounds: number of figures for each system.
        steps: units timed together.
        warmup: units of each system beforehand that do not count.

    Raises:
        ValueError: `rounds` or `steps` is below 1.
    """
    if rounds < 1 or steps < 1:
        raise ValueError(f'--rounds and --steps must be at least 1, not {rounds} and {steps}')
    names = list(clocks)
    for name in names:
        clocks[name](warmup)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(clocks[name](steps) / steps)
    return {name: Timing(tuple(values)) for name, values in found.items()}


def clock_of(work: Work, device: torch.device | str = 'cpu', *, cpu_time: bool = False) -> Clock:
    """Times `work`, a unit of it; on a GPU the host waits for the device around all units only.

    Args:
        work: what is timed.
        device: where it runs.
        cpu_time: count the seconds that this process, and those it has started, had the processor.
    """
    now = processor_seconds if cpu_time else time.perf_counter

    def seconds(steps: int) -> float:
        synchronize(device)
        start = now()
        for _ in range(steps):
            work()
        synchronize(device)
        return now() - start

    return seconds


def processor_seconds() -> float:
    """Seconds that this process, and those it has started and not yet ended, had the processor."""
    return time.process_time() + sum(_seconds_of(child.pid) for child in active_children())


def _seconds_of(pid: int | None) -> float:
    found = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(found)):
        return 0.0  # it has just ended
    return time.clock_gettime(found.value)


def synchronize(device: torch.device | str) -> None:
    """Wait until the device has finished its queue."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


_CGROUP = Path('/sys/fs/cgroup')
_SECONDS = 0.1  # that the products of a unit of work last


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Name and kind of the device, and the threads of torch."""
    on_gpu = device.type == 'cuda'
    return {
        'name': gpu_name() if on_gpu else cpu_name(),
        'type': device.type,
        'cpu': cpu_name(),
        'cores': len(os.sched_getaffinity(0)),
        'threads': torch.get_num_threads(),
        'cpu_capability': torch.backends.cpu.get_cpu_capability(),
    }


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated, or None where the system does not tell."""
    if device.type == 'cuda':
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path('/proc/meminfo').read_text(encoding='utf-8').splitlines()
        (line,) = [line for line in lines if line.startswith('MemAvailable')]
    except (OSError, ValueError):
        return None
    free = int(line.split()[1]) * 1024
    try:  # the limit of a container
        most = int((_CGROUP / 'memory.max').read_text())
        return min(free, most - int((_CGROUP / 'memory.current').read_text()))
    except (OSError, ValueError):
        return free


class MatmulPeak:
    """Products of the sizes that a model multiplies; the fastest of them is the peak.

    A call repeats it until it lasts about as long as a step of a small batch.

    Args:
        sizes: (M, K, N) of products (M, K) @ (K, N).
        dtype: type of both factors.
    """

    def __init__(
        self, sizes: list[tuple[int, int, int]], device: torch.device, dtype: torch.dtype
    ) -> None:
        products = {str(size): _product(*size, device, dtype) for size in sizes}
        clocks = {size: clock_of(product, device) for size, product in products.items()}
        flops = {str(size): 2 * size[0] * size[1] * size[2] for size in sizes}
        timings = alternate(clocks, rounds=3, steps=2)
        best = max(timings, key=lambda size: flops[size] / min(timings[size].rounds))
        self.size = best
        self._repeats = max(1, round(_SECONDS / timings[best].median))
        self.flops = flops[best] * self._repeats
        self._product = products[best]

    def __call__(self) -> None:
        """The products of one unit of work, `flops` operations."""
        for _ in range(self._repeats):
            self._product()


def _product(
    M: int, K: int, N: int, device: torch.device, dtype: torch.dtype
) -> Callable[[], object]:
    left = torch.randn(M, K, device=device).to(dtype)
    right = torch.randn(N, K, device=device).to(dtype)  # as a Linear keeps its weight
    out = torch.empty(M, N, device=device, dtype=dtype)

    def multiply() -> None:
        with torch.no_grad():
            torch.mm(left, right.T, out=out)

    return multiply
