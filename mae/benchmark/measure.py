"""Timing several systems in turns, so that what else the machine does hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Work = Callable[[], object]
Clock = Callable[[int], float]  # seconds that so many units of work take


@dataclass(frozen=True)
class Timing:
    """Seconds of one unit of work (a step, a pass, an iteration), once for each round.

    Attributes:
        rounds: seconds per unit, in the order of the rounds.
    """

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Interquartile range over the median; 0 with one round."""
        low, high = quartiles(self.rounds)
        return (high - low) / self.median


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """The first and the third, both within the values."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, high


def alternate(
    clocks: Mapping[str, Clock], *, rounds: int, steps: int, warmup: int = 1
) -> dict[str, Timing]:
    """Run all systems in rounds; in each, every system does `steps` units, in rotating order.

    Args:
        clocks: of each system, by name.
        rounds: number of figures for each system.
        steps: units timed together.
        warmup: units of each system beforehand that do not count.

    Raises:
        ValueError: `rounds` or `steps` is below 1.
    """
    if rounds < 1 or steps < 1:
        raise ValueError(f'--rounds and --steps must be at least 1, not {rounds} and {steps}')
    names = list(clocks)
    for name in names:
        clocks[name](warmup)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(clocks[name](steps) / steps)
    return {name: Timing(tuple(values)) for name, values in found.items()}


def clock(work: Work, device: torch.device | str = 'cpu') -> Clock:
    """Times `work`, a unit of it; on a GPU the host waits for the device around all units only."""

    def seconds(steps: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(steps):
            work()
        synchronize(device)
        return time.perf_counter() - start

    return seconds


def synchronize(device: torch.device | str) -> None:
    """Wait until the device has done all it was given."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
