"""What the scalars of a run come to."""

import math

import pytest

from mae.visualization.runs.log_table import curve_of, scalar_rows, split_records
from mae.visualization.runs.logs import steps_rolled_back

RECORDS = [
    {'loss': 3.0, 'time': 0.5, 'data_time': 0.1, 'epoch': 1, 'iter': 4, 'step': 4},
    {'loss': math.nan, 'time': 0.1, 'epoch': 2, 'iter': 8, 'step': 8},
    {'top1': 10.0, 'time': 99.0, 'step': 2},
    {'loss': 1.0, 'time': 0.2, 'epoch': 3, 'iter': 10, 'step': 10},
]


def test_scalars_of_a_run():
    training, evaluation = split_records(RECORDS)
    assert evaluation == [(8, {'top1': 10.0, 'step': 2})]
    (loss, *_) = scalar_rows(training)
    assert (loss.name, loss.count, loss.broken) == ('loss', 2, 1)
    assert (loss.lowest.value, loss.lowest.step) == (1.0, 10)
    assert (loss.highest.value, loss.highest.step) == (3.0, 4)
    assert (loss.first, loss.last) == (loss.highest, loss.lowest)


def test_evaluations_stand_at_their_steps_whatever_they_count():
    _, evaluation = split_records(RECORDS)
    assert list(curve_of(evaluation, 'top1', 'run').x) == [8]


def test_steps_that_were_gone_back_over_do_not_count():
    training, _ = split_records([*RECORDS, {**RECORDS[0], 'loss': 2.0, 'iter': 6, 'step': 6}])
    assert curve_of(training, 'loss', '').y == [3.0, 2.0]


@pytest.mark.parametrize(
    ('steps', 'kept', 'number'),
    [
        ([5, 10, 15], [5, 10, 15], 0),
        ([5, 10, 15, 20, 15, 20], [5, 10, 15, 20], 10),  # from behind step 10
        ([5, 10, 5, 10, 5], [5], 20),  # from the start, twice
        ([10, 20, 12, 20, 30, 25], [10, 12, 20, 25], 20),
        ([], [], 0),
    ],
)
def test_what_was_rolled_back_is_counted_and_left_out(steps, kept, number):
    records = [{'loss': 1.0, 'iter': step, 'step': step} for step in steps]
    training, _ = split_records(records)
    assert list(curve_of(training, 'loss', '').x) == kept
    assert steps_rolled_back(records) == number
