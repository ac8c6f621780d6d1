"""The pre-training step: forward, backward and update, ours beside the peers'."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mae.benchmark import OURS, flops
from mae.benchmark.job import Job
from mae.benchmark.machine import available_memory, describe
from mae.benchmark.memory import activation_bytes, gib, require_memory, static_bytes
from mae.benchmark.ours import pretrainer, pretraining
from mae.benchmark.race import mlp_sizes, race
from mae.benchmark.report import Report, report_of
from mae.benchmark.variants import enter, invite
from mae.registry import MODELS

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
    encoder, decoder = given.model.encoder, given.model.decoder
    prefix, L = encoder.num_prefix_tokens, encoder.grid_size[0] * encoder.grid_size[1]
    K = given.model.masker.num_keep(L)
    systems, more = race(
        job,
        entrants | found,
        rounds=rounds,
        steps=steps,
        flops_per_image=flops.training(flops.pretraining(given.model), encoder),
        sizes=mlp_sizes((K + prefix) * job.batch_size, encoder.blocks[0].mlp)
        + mlp_sizes((L + prefix) * job.batch_size, decoder.blocks[0].mlp),
        memory=memory,
    )
    return report_of(
        'step',
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        **more,
    )


def _require_room(job: Job, systems: int) -> None:
    """Refuse a batch that cannot fit, by what one and two images take of ours."""
    available = available_memory(job.device)
    with torch.device('meta'):
        static = systems * static_bytes(MODELS.build(job.config.model))
    what = f'{systems} systems with weights, gradients and AdamW'
    require_memory(static, available, what, 'compare with fewer --peers')
    pair = pretrainer(pretraining(replace(job, batch_size=2, compile=False)))
    of_two, of_one = (activation_bytes(pair.loss, pair.model, n, job.device) for n in (2, 1))
    each = (of_two - of_one) * (_PEERS_KEEP if systems > 1 else 1)
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
