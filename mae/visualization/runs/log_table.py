"""What the logged scalars of a run come to: first, last, lowest and highest of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mae.visualization.curves import Series
from mae.visualization.runs.logs import TIMES, Scalars, is_training, with_steps

_PLACES = ('step', 'epoch', 'iter')  # where in the run a record is
_Steps = Sequence[tuple[int, Scalars]]  # records with their steps


@dataclass(frozen=True)
class Extreme:
    """A value and the step at which it was logged first."""

    value: float
    step: int


@dataclass(frozen=True)
class ScalarRow:
    """One logged scalar over a run; values that are not finite are counted and left out.

    Attributes:
        name: as logged.
        count: finite values.
        broken: values that are NaN or infinite.
        first, last, lowest, highest: of the finite ones.
    """

    name: str
    count: int
    broken: int
    first: Extreme
    last: Extreme
    lowest: Extreme
    highest: Extreme


def split_records(records: Sequence[Scalars]) -> tuple[_Steps, _Steps]:
    """The records of training and those of evaluation, each with its step.

    Evaluation records keep their metrics alone: their times are of no step.
    """
    found = with_steps(records)
    training = [(step, record) for step, record in found if is_training(record)]
    evaluation = [
        (step, {name: value for name, value in record.items() if name not in TIMES})
        for step, record in found
        if not is_training(record)
    ]
    return training, evaluation


def scalar_rows(records: _Steps) -> list[ScalarRow]:
    """A row for each scalar with a finite value, in the order in which they first occur."""
    rows = []
    names = dict.fromkeys(key for _, record in records for key in record if key not in _PLACES)
    for name in names:
        values = _values(records, name)
        finite = [each for each in values if isfinite(each.value)]
        if finite:
            low = min(finite, key=lambda each: each.value)
            high = max(finite, key=lambda each: each.value)
            broken = len(values) - len(finite)
            rows.append(ScalarRow(name, len(finite), broken, finite[0], finite[-1], low, high))
    return rows


def curve_of(records: _Steps, name: str, label: str) -> Series:
    """One scalar over the steps of a run, for a chart; empty if it was not logged."""
    values = _values(records, name)
    return Series(label, [each.step for each in values], [each.value for each in values])


def _values(records: _Steps, name: str) -> list[Extreme]:
    return [Extreme(float(record[name]), step) for step, record in records if name in record]
