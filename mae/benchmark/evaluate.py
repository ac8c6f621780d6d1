"""Features of whole images and votes of nearest neighbours, as evaluation needs them.

Shapes: B images, M images of the bank, D width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from mae.benchmark import OURS
from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.memory import require_memory_to_evaluate
from mae.benchmark.ours import meta_model
from mae.benchmark.report import Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.systems import start_systems
from mae.evaluation.knn import knn_scores
from mae.zoo.cost import encoder_flops

_CLASSES = 1000
_NEIGHBOURS = 20


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    bank: int = 50000,
    equal_allocator: bool = False,
    command: str = '',
) -> Report:
    """Time the features of all systems interleaved, then k-NN in a bank.

    Args:
        settings: config, batch, device, precision.
        peers: names of those to compare with.
        rounds: figures for each system.
        steps: batches timed together.
        bank: M.
        equal_allocator: see `mae.benchmark.systems.start_systems`.
        command: the command line, for the report.

    Raises:
        ValueError: the batch or the bank does not fit the memory.
    """
    require_memory_to_evaluate(settings, bank)
    encoder = meta_model(settings).encoder
    of_image = encoder_flops(encoder)
    with start_systems('evaluate', peers, settings, equal_allocator=equal_allocator) as (
        workers,
        skipped,
    ):
        clocks = {name: partial(worker.call, 'seconds') for name, worker in workers.items()}
        timings = alternate(clocks, rounds=rounds, steps=steps, warmup=2)
        systems = {
            name: throughput(timings[name], settings.batch_size)
            | {'tflops': of_image * settings.batch_size / timings[name].median / 1e12}
            | worker.call('facts')
            for name, worker in workers.items()
        }
    return build_report(
        'evaluate',
        systems,
        **settings.facts,
        skipped=skipped,
        command=command,
        dtype=str(settings.dtype).removeprefix('torch.'),
        compile=settings.compile,
        equal_allocator=equal_allocator,
        steps_per_round=steps,
        gflop_per_image=of_image / 1e9,
        knn=_neighbours(settings, encoder.embed_dim, bank, rounds),
    )


def _neighbours(settings: Settings, width: int, bank: int, rounds: int) -> dict[str, Any]:
    """Queries per second of our k-NN and of scikit-learn's exact one."""
    from sklearn.neighbors import KNeighborsClassifier

    generator = torch.Generator().manual_seed(settings.seed)
    known = torch.randn(bank, width, generator=generator)
    labels = torch.arange(bank) % min(_CLASSES, max(1, bank // 4))
    queries = torch.randn(settings.batch_size, width, generator=generator)
    known = F.normalize(known, dim=1)
    theirs = KNeighborsClassifier(min(_NEIGHBOURS, bank), algorithm='brute')
    theirs.fit(known.numpy(), labels.numpy())
    on_device = [part.to(settings.device) for part in (queries, known, labels)]

    def ours() -> None:
        with torch.inference_mode():
            knn_scores(*on_device, num_classes=_CLASSES, k=min(_NEIGHBOURS, bank))

    works = {OURS: ours, 'scikit-learn': lambda: theirs.predict(F.normalize(queries).numpy())}
    clocks = {name: clock_of(work, settings.device) for name, work in works.items()}
    timings = alternate(clocks, rounds=rounds, steps=1)
    return {
        'bank': bank,
        'queries_per_second': {
            name: settings.batch_size / timing.median for name, timing in timings.items()
        },
        'spread': {name: timing.spread for name, timing in timings.items()},
    }
