"""Systems that train, timed in turns with the machine's matrix products."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mae.benchmark.apart import Apart
from mae.benchmark.job import Job
from mae.benchmark.machine import MatmulPeak, describe
from mae.benchmark.measure import Clock, Timing, alternate, clock
from mae.benchmark.report import Figures, Report, report_of, throughput
from mae.benchmark.seats import invite

_PEAK = 'matmul'
Sizes = list[tuple[int, int, int]]


def race(
    task: str,
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int,
    steps: int,
    flops_per_image: float,
    sizes: Sizes,
    memory: bool,
    equal_allocator: bool,
    command: str,
) -> Report:
    """Time all systems.

    Args:
        task: of `mae.benchmark.ours.TASKS`.
        job: the comparison.
        peers: names of those to compare with.
        rounds: figures for each.
        steps: optimizer steps timed together.
        flops_per_image: of forward and backward.
        sizes: matrix products among which the peak is sought.
        memory: measure it too.
        equal_allocator: see `mae.benchmark.seats.invite`.
        command: that began it, for the report.
    """
    with invite(task, peers, job, equal_allocator=equal_allocator) as (entrants, skipped):
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
    return report_of(
        task,
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        equal_allocator=equal_allocator,
        batch_size=job.batch_size,
        dtype=str(job.dtype).removeprefix('torch.'),
        compile=job.compile,
        steps_per_round=steps,
        gflop_per_image=flops_per_image / 1e9,
        matmul_peak={'tflops': peak_rate / 1e12, 'size': peak.size},
    )


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
