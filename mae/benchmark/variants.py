"""Peers that are installed and run, each with the fastest of its switches."""

import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from mae.benchmark.measure import alternate

Variants = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Entrant:
    """A system in the race.

    Attributes:
        system: with `step()` and `switch`.
        check: a figure that all systems should agree on, taken before the first step.
    """

    system: Any
    check: float


def invite(
    task: str, names: Iterable[str], given: Any, device: torch.device
) -> tuple[dict[str, Entrant], dict[str, str]]:
    """Build the peers of a task.

    Args:
        task: the function that a peer's module offers.
        names: of modules in `mae.benchmark.peers`.
        given: its argument.
        device: where they run.

    Returns:
        Those that run, and of the others the reason in one line.
    """
    found, skipped = {}, {}
    for name in names:
        try:
            variants = getattr(import_module(f'mae.benchmark.peers.{name}'), task)(given)
            found[name] = fastest(variants, device, name)
        except Exception as error:  # whatever keeps a peer from running must not end the others
            skipped[name] = reason(error)
            print(f'skipped {name}: {skipped[name]}', flush=True)
    return found, skipped


def fastest(variants: Variants, device: torch.device, name: str) -> Entrant:
    """The variant with the shortest step, of those that run at all.

    Args:
        variants: what builds them, by the switch they set.
        device: where they run.
        name: of the peer, for the line that tells what takes so long.

    Raises:
        Exception: none runs; what the last one said.
    """
    entrants, failure = {}, None
    for switch, build in variants.items():
        print(f'starting {name} {switch}'.rstrip(), flush=True)
        try:
            entrants[switch] = enter(build())
            alternate({switch: entrants[switch].system.step}, rounds=1, steps=1, device=device)
        except Exception as error:
            entrants.pop(switch, None)
            failure = error
    if not entrants:
        assert failure is not None
        raise failure
    if len(entrants) == 1:
        return next(iter(entrants.values()))
    steps = {switch: entrant.system.step for switch, entrant in entrants.items()}
    timings = alternate(steps, rounds=3, steps=1, warmup=0, device=device)
    best = min(timings, key=lambda switch: timings[switch].median)
    chosen = entrants[best]
    del entrants, steps
    gc.collect()
    return chosen


def enter(system: Any) -> Entrant:
    """Take the system's figure while its weights are as they began."""
    return Entrant(system, system.check())


def reason(error: Exception) -> str:
    """One line of at most 200 characters."""
    if isinstance(error, ModuleNotFoundError):
        return f'{error.name} is not installed'
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:200]
