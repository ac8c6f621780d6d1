"""Systems that train, timed in turns with the machine's matrix products."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from mae.benchmark.apart import Apart
from mae.benchmark.job import Job
from mae.benchmark.machine import MatmulPeak
from mae.benchmark.measure import Clock, Timing, alternate, clock
from mae.benchmark.report import Figures, throughput

_PEAK = 'matmul'
Sizes = list[tuple[int, int, int]]


def race(
    job: Job,
    entrants: Mapping[str, Apart],
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
    clocks: dict[str, Clock] = {
        name: partial(entrant.call, 'seconds') for name, entrant in entrants.items()
    }
    clocks[_PEAK] = clock(peak, job.device)
    timings = alternate(clocks, rounds=rounds, steps=steps, warmup=2)
    peak_rate = peak.flops / timings.pop(_PEAK).median
    systems = {
        name: _speed(timings[name], job.batch_size, flops_per_image, peak_rate)
        | _facts(entrant)
        | (entrant.call('memory') if memory else {})
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


def _speed(timing: Timing, batch_size: int, of_image: float, peak_rate: float) -> Figures:
    rate = of_image * batch_size / timing.median
    return {
        **throughput(timing, batch_size),
        'tflops': rate / 1e12,
        'share_of_peak': rate / peak_rate,
    }


def _facts(entrant: Apart) -> Figures:
    facts: Figures = entrant.call('facts')
    return {'loss': facts['check'], 'switch': facts['switch']}


def mlp_sizes(tokens: int, mlp: Any) -> Sizes:
    """The two products of a block's MLP for that many tokens."""
    K, N = mlp.fc1.in_features, mlp.fc1.out_features
    return [(tokens, K, N), (tokens, N, K)]
