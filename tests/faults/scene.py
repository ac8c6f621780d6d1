"""What a scene is: one kind of fault, tried a number of times."""

import random
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.bench import PATIENCE, Bench, losses_of, state_of, tail
from tests.faults.inside import phase_of


class Failed(Exception):  # noqa: N818  # as said of a trial
    """A trial did not end as it should."""


@dataclass
class Outcome:
    """What a trial gave.

    Attributes:
        passed, tried: cases of the trial.
        why: it failed, for people.
        facts: figures and words that the row sums up.
    """

    passed: int
    tried: int
    why: str = ''
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trial:
    """One try: its number, its own random generator, its folder, and the bench."""

    scene: str
    number: int
    seed: int
    folder: Path
    bench: Bench
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.rng = random.Random(f'{self.seed}/{self.scene}/{self.number}')
        self.work_dir = self.folder / 'run'
        self.log = self.folder / 'log'

    def check(self, holds, what):
        """Raise Failed unless `holds`."""
        if not holds:
            raise Failed(what)

    def run(self, line, code=0, log=None, patience=PATIENCE, **options):
        """Run a command line to its end, which must be of this status."""
        log = log or self.log
        found = self.bench.run(
            line[0] if len(line) == 1 else line, log, patience=patience, **options
        )
        self.check(found == code, f'exit status {found} instead of {code}: {tail(log)}')

    def phase(self):
        """(phase, step) of the run, as far as it has got."""
        return phase_of(f'{self.log}.trace', self.work_dir)

    def check_losses(self, expected):
        """Every step must be logged once, with the loss of an undisturbed run to 1e-5."""
        found = losses_of(self.work_dir)
        steps = [step for step, _ in found]
        self.check(steps == [step for step, _ in expected], f'not every step once: {steps}')
        pairs = zip(found, expected, strict=True)
        self.facts['losses_off'] = off = max(abs(loss - to) / to for (_, loss), (_, to) in pairs)
        self.check(off < 1e-5, f'losses are off by {off}')

    def finish(self, line, reference, *, quick=False, fault=None):
        """Run a line with --resume in it to the end, which must be that of `reference`."""
        start = time.monotonic()
        self.run(line, quick=quick, fault=fault)
        state = state_of(self.work_dir)
        self.check(state.get('state') == 'finished', f'run.json says {state.get("state")}')
        found = state.get('weights_sha256')
        self.check(
            found == reference.sha256,
            f'other weights than the undisturbed run: {found} instead of {reference.sha256}, '
            f'resumed from {state.get("resumed_from")}',
        )
        self.facts['resume_seconds'] = time.monotonic() - start


@dataclass(frozen=True)
class Scene:
    """A kind of fault.

    Attributes:
        name: of the row.
        what: is done, in a line.
        run: does one trial; raises Failed, or returns how many cases passed of how many.
        full: number of trials, or how to find it.
        short: the trials of the short selection.
        cores: that a trial keeps busy.
        share: of the cases that must pass.
        sum_up: figures of the row, from the facts of its trials.
        obstacle: why it cannot be played here; None if it can.
    """

    name: str
    what: str
    run: Callable[[Trial], tuple[int, int] | None]
    full: int | Callable[[Bench], int]
    short: Sequence[int]
    share: float = 1.0
    cores: int = 1
    sum_up: Callable[[list[dict[str, Any]]], dict[str, Any]] = lambda facts: {}
    obstacle: Callable[[], str | None] = lambda: None

    def numbers(self, bench, *, short):
        """Of the trials."""
        if short:
            return self.short
        return range(self.full if isinstance(self.full, int) else self.full(bench))

    def repeat(self, number, seed, out):
        """The command that does one trial again."""
        words = ['python', '-m', 'tests.faults', '--scenes', self.name, '--trials', str(number)]
        return shlex.join([*words, '--seed', str(seed), '--out', str(out)])
