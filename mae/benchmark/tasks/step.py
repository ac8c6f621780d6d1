"""The pre-training step: forward, backward and update, ours beside the peers'."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mae.benchmark import OURS, flops
from mae.benchmark.job import Job
from mae.benchmark.machine import MatmulPeak, available_memory, describe
from mae.benchmark.measure import Timing, alternate
from mae.benchmark.memory import (
    activation_bytes,
    activation_bytes_per_image,
    gib,
    require_memory,
    static_bytes,
)
from mae.benchmark.ours import pretrainer, pretraining
from mae.benchmark.report import Figures, Report, report_of, throughput
from mae.benchmark.variants import Entrant, enter, invite
from mae.registry import MODELS

_PEAK = 'matmul'
_PEERS_KEEP = 1.6  # activations of the peers over ours, for the estimate beforehand


def run(
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    memory: bool = True,
    command: str = '',
) -> Report:
    """Time all systems in turns.

    Args:
        job: config, batch, device, precision.
        peers: names of those to compare with.
        rounds: figures for each system.
        steps: optimizer steps timed together.
        memory: measure it too; compiled, that takes a second compilation.
        command: that began it, for the report.

    Raises:
        ValueError: the config describes no pre-training, or the batch does not fit the memory.
    """
    _require_room(job, len(peers) + 1)
    given = pretraining(job)
    entrants = {OURS: enter(pretrainer(given))}
    found, skipped = invite('step', peers, given, job.device)
    entrants |= found
    peak = MatmulPeak(_sizes(given.model, job.batch_size), job.device, job.dtype)
    works: dict[str, Any] = {key: entrant.system.step for key, entrant in entrants.items()}
    timings = alternate(
        {**works, _PEAK: peak}, rounds=rounds, steps=steps, warmup=2, device=job.device
    )
    peak_rate = peak.flops / timings.pop(_PEAK).median
    of_image = flops.training(flops.pretraining(given.model), given.model.encoder)
    systems = {
        key: _speed(entrant, timings[key], job.batch_size, of_image, peak_rate)
        | (_memory(entrant, job) if memory else {})
        for key, entrant in entrants.items()
    }
    return report_of(
        'step',
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        batch_size=job.batch_size,
        dtype=str(job.dtype).removeprefix('torch.'),
        compile=job.compile,
        steps_per_round=steps,
        gflop_per_image=of_image / 1e9,
        matmul_peak={'tflops': peak_rate / 1e12, 'size': peak.size},
    )


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
    whole, each = activation_bytes_per_image(
        system.loss, system.model, job.batch_size, job.device
    )
    return {
        'activation_bytes_per_image': each,
        'peak_memory_bytes': static_bytes(system.model) + whole,
    }


def _sizes(model: Any, batch_size: int) -> list[tuple[int, int, int]]:
    """Products of the encoder's and the decoder's MLP, forward and back, as a step does them."""
    height, width = model.encoder.grid_size
    L, prefix = height * width, model.encoder.num_prefix_tokens
    tokens = (model.masker.num_keep(L) + prefix) * batch_size, (L + prefix) * batch_size
    mlps = model.encoder.blocks[0].mlp, model.decoder.blocks[0].mlp
    shapes = [(M, *mlp.fc1.weight.T.shape) for M, mlp in zip(tokens, mlps, strict=True)]
    return shapes + [(M, N, K) for M, K, N in shapes]


def _require_room(job: Job, systems: int) -> None:
    """Refuse a batch that cannot fit, by what one and two images take of ours."""
    available = available_memory(job.device)
    with torch.device('meta'):
        static = systems * static_bytes(MODELS.build(job.config.model))
    what = f'{systems} systems with weights, gradients and AdamW'
    require_memory(static, available, what, 'compare with fewer --peers')
    pair = pretrainer(pretraining(replace(job, batch_size=2, compile=False)))
    each = activation_bytes(pair.loss, pair.model, 2, job.device) - activation_bytes(
        pair.loss, pair.model, 1, job.device
    )
    each *= _PEERS_KEEP if systems > 1 else 1
    if available is None:
        return
    most = int((available - static) / each)
    require_memory(
        static + each * job.batch_size,
        available,
        f'a batch of {job.batch_size}',
        f'{gib(static)} for {systems} systems, {each / 2**20:.0f} MiB an image; '
        f'--batch {most} would fit',
    )
