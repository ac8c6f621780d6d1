"""What the machine is and how fast it multiplies matrices, measured rather than looked up."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mae.benchmark.measure import alternate, clock
from mae.utils.circumstances import cpu_name, gpu_name

_CGROUP = Path('/sys/fs/cgroup')
_SECONDS = 0.1  # that the products of a unit of work last


def describe(device: torch.device) -> dict[str, Any]:
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
        device: where.
        dtype: of both factors.
    """

    def __init__(
        self, sizes: list[tuple[int, int, int]], device: torch.device, dtype: torch.dtype
    ) -> None:
        products = {str(size): _product(*size, device, dtype) for size in sizes}
        clocks = {size: clock(product, device) for size, product in products.items()}
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
