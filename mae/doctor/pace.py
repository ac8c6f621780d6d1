"""How fast the run goes: the loader alone, and the first seconds of the run itself."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from mmengine.hooks import Hook

from mae.doctor.findings import ExaminedPart, FoundFault
from mae.doctor.subject import Subject
from mae.utils.runner_protocol import RunnerProtocol

_LOADER_SECONDS = 3.0
_WAITING = 0.25  # share of a step's time from which the loader is at fault
_FEWEST_STEPS = 4


class EnoughSeen(Exception):  # noqa: N818  (it ends a trial run, and is no error)
    """The trial run has measured what it is for."""


@dataclass(frozen=True)
class Pace:
    """Seconds of the parts of a run, as measured.

    Attributes:
        step: one step, in the middle of an epoch.
        waiting: of these, for the loader.
        epoch_end: what one epoch's end adds: saves, and the start of the next epoch's loader; None
            where no epoch ended.
        validation: one validation; None where none was run.
        steps: that were measured.
    """

    step: float
    waiting: float
    epoch_end: float | None
    validation: float | None
    steps: int


@dataclass
class Stopwatch(Hook):
    """Notes when steps, epochs and validations begin and end, and ends the run after a while.

    Attributes:
        seconds: after the first step until it ends the run.
        steps: (seconds of waiting, seconds) of each step but the first of its epoch.
        ends: likewise from the last step of an epoch to the end of the first of the next, without
            validation; waiting counts from the next epoch's begin.
        validations: seconds of each.
    """

    seconds: float
    steps: list[tuple[float, float]] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    _begin: float = 0.0
    _mark: float = 0.0
    _ready: float = 0.0
    _epoch_begin: float = 0.0
    _val_begin: float = 0.0
    _validated: float = 0.0
    _epoch: int = -1

    priority = 'LOWEST'

    def before_train_epoch(self, runner: RunnerProtocol) -> None:
        """An epoch begins."""
        self._epoch_begin = time.perf_counter()

    def before_train_iter(self, runner: RunnerProtocol, *args: object, **kwargs: object) -> None:
        """The data are there."""
        self._ready = time.perf_counter()

    def after_step(self, runner: RunnerProtocol) -> None:
        """A step is done.

        Raises:
            EnoughSeen: there is no more to learn.
        """
        now = time.perf_counter()
        if self._epoch == runner.epoch:
            self.steps.append((self._ready - self._mark, now - self._mark))
        elif self._epoch >= 0:
            whole = now - self._mark - self._validated
            self.ends.append((self._ready - self._epoch_begin, whole))
        else:
            self._begin = now
        self._epoch, self._mark, self._validated = runner.epoch, now, 0.0
        seen = len(self.steps) + len(self.ends)
        if now - self._begin > self.seconds and seen >= _FEWEST_STEPS:
            raise EnoughSeen

    def before_val(self, runner: RunnerProtocol) -> None:
        """A validation begins."""
        self._val_begin = time.perf_counter()

    def after_val(self, runner: RunnerProtocol) -> None:
        """It ends."""
        spent = time.perf_counter() - self._val_begin
        self.validations.append(spent)
        self._validated += spent

    def pace(self) -> Pace | None:
        """Means of what was noted; None of a run of one step.

        Where each epoch has one step, its time holds that of the epoch's end.
        """
        steps = self.steps or self.ends
        if not steps:
            return None
        step = _mean([whole for _, whole in steps])
        ends = [whole - step for _, whole in self.ends] if self.steps else []
        return Pace(
            step,
            _mean([waited for waited, _ in steps]),
            max(0.0, _mean(ends)) if ends else None,
            _mean(self.validations) if self.validations else None,
            len(steps),
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def examine_pace(subject: Subject, seconds: float) -> tuple[ExaminedPart, Pace | None]:
    """Run the loader alone for a moment, then the run itself.

    Args:
        subject: what is examined; its weights change.
        seconds: for the run.
    """
    alone = loader_rate(subject, min(_LOADER_SECONDS, seconds))
    watch = Stopwatch(seconds)
    subject.runner.register_hook(watch, priority='LOWEST')
    with suppress(EnoughSeen):
        subject.runner.train()
    pace = watch.pace()
    if pace is None:
        return ExaminedPart('pace', ['not examined: the run has one step']), None
    images = subject.plan.global_batch
    computing = images / max(pace.step - pace.waiting, 1e-9)
    lines = [
        f'the loader alone gives {alone:,.0f} images/s, a step takes {computing:,.0f} images/s',
        f'together {images / pace.step:,.0f} images/s, of which the step waits '
        f'{pace.waiting / pace.step:.0%} of the time ({pace.steps} steps of {images} images)',
    ]
    facts = {
        'loader_images_per_second': alone,
        'step_images_per_second': computing,
        'images_per_second': images / pace.step,
        'waiting': pace.waiting / pace.step,
        'seconds_per_step': pace.step,
        'images_per_step': images,
    }
    # How long random images take to decode says little about the run's own.
    findings = [] if subject.is_random else judge_pace(alone, computing, pace)
    return ExaminedPart('pace', lines, findings, facts), pace


def loader_rate(subject: Subject, seconds: float) -> float:
    """Images a second of the training loader while nothing is computed."""
    start, images = 0.0, 0
    for epoch in count():  # the second one too where each has one step
        for micro_batches in subject.loader.epoch(epoch):
            if start:
                images += sum(len(batch['ids']) for batch in micro_batches)
            else:
                start = time.perf_counter()  # the workers have started
            if images and time.perf_counter() - start > seconds:
                break
        if images:
            break
    return images / (time.perf_counter() - start)


def judge_pace(loader: float, computing: float, pace: Pace) -> list[FoundFault]:
    """A loader that the training waits for, and that is too slow for it.

    Where the loader alone is several times as fast as the steps, other work on the machine has made
    the training wait.

    Args:
        loader: images a second of it alone.
        computing: images a second of the steps, without waiting.
        pace: of both together.
    """
    share = pace.waiting / pace.step if pace.step else 0.0
    expected = computing / (loader + computing)  # without workers; these only make it less
    if min(share, expected) <= _WAITING:
        return []
    what = (
        f'the training waits {share:.0%} of its time: the loader gives {loader:,.0f} images/s '
        f'alone, and a step takes {computing:,.0f}'
    )
    return [FoundFault('slow_loader', what)]
