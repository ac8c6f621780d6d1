"""Who takes part: ours and the peers that run, each in a process of its own."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module

import mae.datasets
import mae.models
from mae.benchmark import OURS
from mae.benchmark.apart import Apart, ApartError
from mae.benchmark.entrant import Entrant
from mae.benchmark.job import Job
from mae.benchmark.ours import TASKS
from mae.benchmark.variants import fastest
from mae.engine.allocator import keep_freed_memory

assert mae.datasets  # their classes are registered, in each process
assert mae.models


@contextmanager
def invite(
    task: str, peers: Iterable[str], job: Job, *, equal_allocator: bool = False
) -> Iterator[tuple[dict[str, Apart], dict[str, str]]]:
    """Start all systems, and end their processes afterwards.

    Args:
        task: of `mae.benchmark.ours.TASKS`, and the function that a peer's module offers.
        peers: names of modules in `mae.benchmark.peers`.
        job: the comparison.
        equal_allocator: peers keep what they free, as our runs on a CPU do.

    Yields:
        An `Entrant` in its own process for each that runs, ours first; of the others the reason in
        one line.

    Raises:
        ApartError: ours does not run.
    """
    found, skipped = {}, {}
    with ExitStack() as stack:
        for name in (OURS, *peers):
            keep = name == OURS or equal_allocator
            try:
                found[name] = Apart(name, partial(seat, task, name, job, keep=keep))
            except ApartError as failure:
                if name == OURS:
                    raise
                skipped[name] = str(failure)
                print(f'skipped {name}: {failure}', flush=True)
            else:
                stack.callback(found[name].close)
        yield found, skipped


def seat(task: str, name: str, job: Job, *, keep: bool) -> Entrant:
    """A system, in this process.

    Args:
        task: see `invite`.
        name: ours or a peer.
        job: the comparison.
        keep: what is freed, as `mae.engine.Runner` decides it for ours.
    """
    if keep and job.device.type == 'cpu':
        keep_freed_memory()
    prepare, ours = TASKS[task]
    given = prepare(job)
    if name == OURS:
        return Entrant(ours(given), job)
    variants = getattr(import_module(f'mae.benchmark.peers.{name}'), task)(given)
    return fastest(variants, job, name)
