"""Whether a batch will fit the memory, found out before it is allocated."""

from collections.abc import Callable
from dataclasses import replace

import torch

from mae.benchmark.job import Job
from mae.benchmark.machine import available_memory
from mae.benchmark.memory import activation_bytes, gib, require_memory, static_bytes
from mae.benchmark.training import Trainee
from mae.registry import MODELS

_PEERS_KEEP = 1.6  # activations of the peers over ours


def require_room(job: Job, systems: int, build: Callable[[Job], Trainee]) -> None:
    """Refuse a batch that cannot fit, by what one and two images take of ours.

    Args:
        job: the comparison.
        systems: that will be there at once.
        build: ours, for a job of another batch.

    Raises:
        ValueError: says how much memory is needed, how much there is, and what would fit.
    """
    available = available_memory(job.device)
    with torch.device('meta'):
        static = systems * static_bytes(MODELS.build(job.config.model))
    what = f'{systems} systems with weights, gradients and AdamW'
    require_memory(static, available, what, 'compare with fewer --peers')
    pair = build(replace(job, batch_size=2, compile=False))
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
