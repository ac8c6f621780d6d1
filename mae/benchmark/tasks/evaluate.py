"""Features of whole images and votes of nearest neighbours, as evaluation needs them.

Shapes: B images, M images of the bank, D width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from mae.benchmark import OURS, flops
from mae.benchmark.job import Job
from mae.benchmark.machine import describe
from mae.benchmark.measure import alternate, clock
from mae.benchmark.ours import shape_of
from mae.benchmark.report import Report, report_of, throughput
from mae.benchmark.room import require_room_to_evaluate
from mae.benchmark.seats import invite
from mae.evaluation.knn import knn_scores

_CLASSES = 1000
_NEIGHBOURS = 20


def run(
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    bank: int = 50000,
    equal_allocator: bool = False,
    command: str = '',
) -> Report:
    """Time the features of all systems in turns, then k-NN in a bank.

    Args:
        job: config, batch, device, precision.
        peers: names of those to compare with.
        rounds: figures for each system.
        steps: batches timed together.
        bank: M.
        equal_allocator: see `mae.benchmark.seats.invite`.
        command: that began it, for the report.

    Raises:
        ValueError: the batch or the bank does not fit the memory.
    """
    require_room_to_evaluate(job, bank)
    encoder = shape_of(job).encoder
    of_image = flops.features(encoder)
    with invite('evaluate', peers, job, equal_allocator=equal_allocator) as (entrants, skipped):
        clocks = {name: partial(entrant.call, 'seconds') for name, entrant in entrants.items()}
        timings = alternate(clocks, rounds=rounds, steps=steps, warmup=2)
        systems = {
            name: throughput(timings[name], job.batch_size)
            | {'tflops': of_image * job.batch_size / timings[name].median / 1e12}
            | entrant.call('facts')
            for name, entrant in entrants.items()
        }
    return report_of(
        'evaluate',
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        batch_size=job.batch_size,
        dtype=str(job.dtype).removeprefix('torch.'),
        compile=job.compile,
        equal_allocator=equal_allocator,
        steps_per_round=steps,
        gflop_per_image=of_image / 1e9,
        knn=_neighbours(job, encoder.embed_dim, bank, rounds),
    )


def _neighbours(job: Job, width: int, bank: int, rounds: int) -> dict[str, Any]:
    """Queries per second of our k-NN and of scikit-learn's exact one."""
    from sklearn.neighbors import KNeighborsClassifier

    generator = torch.Generator().manual_seed(job.seed)
    known = torch.randn(bank, width, generator=generator)
    labels = torch.arange(bank) % min(_CLASSES, max(1, bank // 4))
    queries = torch.randn(job.batch_size, width, generator=generator)
    known = F.normalize(known, dim=1)
    theirs = KNeighborsClassifier(min(_NEIGHBOURS, bank), algorithm='brute')
    theirs.fit(known.numpy(), labels.numpy())
    on_device = [part.to(job.device) for part in (queries, known, labels)]

    def ours() -> None:
        with torch.inference_mode():
            knn_scores(*on_device, num_classes=_CLASSES, k=min(_NEIGHBOURS, bank))

    works = {OURS: ours, 'scikit-learn': lambda: theirs.predict(F.normalize(queries).numpy())}
    clocks = {name: clock(work, job.device) for name, work in works.items()}
    timings = alternate(clocks, rounds=rounds, steps=1)
    return {
        'bank': bank,
        'queries_per_second': {
            name: job.batch_size / timing.median for name, timing in timings.items()
        },
        'spread': {name: timing.spread for name, timing in timings.items()},
    }
