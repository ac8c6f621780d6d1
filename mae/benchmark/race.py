"""Systems that train, timed in turns with the machine's matrix products."""

from collections.abc import Mapping
from typing import Any

from mae.benchmark.job import Job
from mae.benchmark.machine import MatmulPeak
from mae.benchmark.measure import Timing, alternate
from mae.benchmark.memory import activation_bytes_per_image, static_bytes
from mae.benchmark.report import Figures, throughput
from mae.benchmark.variants import Entrant

_PEAK = 'matmul'
Sizes = list[tuple[int, int, int]]


def race(
    job: Job,
    entrants: Mapping[str, Entrant],
    *,
    rounds: int,
    steps: int,
    flops_per_image: float,
    sizes: Sizes,
    memory: bool,
) -> tuple[dict[str, Figures], dict[str, Any]]:
    """Time all systems.

    Args:
        job: the comparison.
        entrants: the systems by name.
        rounds: figures for each.
        steps: optimizer steps timed together.
        flops_per_image: of forward and backward.
        sizes: matrix products among which the peak is sought.
        memory: measure it too.

    Returns:
        The figures by name, and what else belongs in the report.
    """
    peak = MatmulPeak(sizes, job.device, job.dtype)
    works: dict[str, Any] = {name: entrant.system.step for name, entrant in entrants.items()}
    works[_PEAK] = peak
    timings = alternate(works, rounds=rounds, steps=steps, warmup=2, device=job.device)
    peak_rate = peak.flops / timings.pop(_PEAK).median
    systems = {
        name: _speed(entrant, timings[name], job.batch_size, flops_per_image, peak_rate)
        | (_memory(entrant, job) if memory else {})
        for name, entrant in entrants.items()
    }
    more = {
        'batch_size': job.batch_size,
        'dtype': str(job.dtype).removeprefix('torch.'),
        'compile': job.compile,
        'steps_per_round': steps,
        'gflop_per_image': flops_per_image / 1e9,
        'matmul_peak': {'tflops': peak_rate / 1e12, 'size': peak.size},
    }
    return systems, more


def _speed(
    entrant: Entrant, timing: Timing, batch_size: int, of_image: float, peak_rate: float
) -> Figures:
    rate = of_image * batch_size / timing.median
    return {
        **throughput(timing, batch_size),
        'tflops': rate / 1e12,
        'share_of_peak': rate / peak_rate,
        'loss': entrant.check,
        'switch': entrant.system.switch,
    }


def _memory(entrant: Entrant, job: Job) -> Figures:
    system = entrant.system
    whole, each = activation_bytes_per_image(system.loss, system.model, job.batch_size, job.device)
    return {
        'activation_bytes_per_image': each,
        'peak_memory_bytes': static_bytes(system.model) + whole,
    }


def mlp_sizes(tokens: int, mlp: Any) -> Sizes:
    """The two products of a block's MLP for that many tokens."""
    K, N = mlp.fc1.in_features, mlp.fc1.out_features
    return [(tokens, K, N), (tokens, N, K)]
