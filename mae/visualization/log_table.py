"""What the logged scalars of a run come to: first, last, lowest and highest of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mae.visualization.curves import Series
from mae.visualization.logs import Scalars

_PLACES = ('step', 'epoch', 'iter')  # where in the run a record is
_TIMES = ('time', 'data_time')


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


def split_records(records: Sequence[Scalars]) -> tuple[list[Scalars], list[Scalars]]:
    """Those of training and those of evaluation, whose `step` may be an epoch and `time` no step's.

    Evaluation records keep their metrics alone.
    """
    training = [record for record in records if 'loss' in record]
    evaluation = [
        {name: value for name, value in record.items() if name not in _TIMES}
        for record in records
        if 'loss' not in record
    ]
    return training, evaluation


def scalar_rows(records: Sequence[Scalars]) -> list[ScalarRow]:
    """A row for each scalar with a finite value, in the order in which they first occur."""
    rows = []
    for name in dict.fromkeys(key for record in records for key in record if key not in _PLACES):
        values = _values(records, name)
        finite = [each for each in values if isfinite(each.value)]
        if finite:
            low = min(finite, key=lambda each: each.value)
            high = max(finite, key=lambda each: each.value)
            broken = len(values) - len(finite)
            rows.append(ScalarRow(name, len(finite), broken, finite[0], finite[-1], low, high))
    return rows


def seconds_per_step(training: Sequence[Scalars]) -> float | None:
    """Mean duration of a step over a run, data loading included; None if none was logged.

    Args:
        training: records whose `time` is the mean of the steps since the one before. Where a run
            went back to a checkpoint, steps count from there.
    """
    seconds, steps, before = 0.0, 0.0, 0.0
    for record in training:
        if 'time' in record:
            number = max(record.get('step', before) - before, 0.0)
            seconds += record['time'] * number
            steps += number
        before = record.get('step', before)
    return seconds / steps if steps else None


def curve_of(records: Sequence[Scalars], name: str, label: str) -> Series:
    """One scalar over the steps of a run, for a chart; empty if it was not logged."""
    values = _values(records, name)
    return Series(label, [each.step for each in values], [each.value for each in values])


def _values(records: Sequence[Scalars], name: str) -> list[Extreme]:
    return [
        Extreme(float(record[name]), int(record.get('step', number)))
        for number, record in enumerate(records)
        if isinstance(record.get(name), int | float)
    ]
