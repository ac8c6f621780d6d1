"""A peer with the fastest of its switches."""

import gc
from collections.abc import Callable, Mapping
from typing import Any

from mae.benchmark.entrant import Entrant
from mae.benchmark.job import Job
from mae.benchmark.measure import alternate

Variants = Mapping[str, Callable[[], Any]]


def fastest(variants: Variants, job: Job, name: str) -> Entrant:
    """The variant with the shortest step, of those that run at all.

    Args:
        variants: what builds them, by the switch they set.
        job: the comparison.
        name: of the peer, for the line that tells what takes so long.

    Raises:
        Exception: none runs; what the last one said.
    """
    entrants, failure = {}, None
    for switch, build in variants.items():
        print(f'starting {name} {switch}'.rstrip(), flush=True)
        try:
            entrant = Entrant(build(), job)
            entrant.seconds(2)
        except Exception as error:
            failure = error
        else:
            entrants[switch] = entrant
    if not entrants:
        assert failure is not None
        raise failure
    if len(entrants) == 1:
        return entrants.popitem()[1]
    clocks = {switch: entrant.seconds for switch, entrant in entrants.items()}
    timings = alternate(clocks, rounds=3, steps=1, warmup=0)
    chosen = entrants[min(timings, key=lambda switch: timings[switch].median)]
    del entrants, entrant, clocks
    gc.collect()
    return chosen
