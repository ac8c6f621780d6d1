"""Seconds and bytes of a run."""

import pytest

from mae.doctor.cost import Length, checkpoints_kept, judge_disk, length_of, seconds_to_end
from mae.doctor.pace import Pace
from mae.doctor.words import duration

GIB = 1 << 30


@pytest.mark.parametrize(
    ('train_cfg', 'val_images', 'length'),
    [
        (dict(max_epochs=10), 0, Length(50, 10, 0, 0)),
        (dict(max_epochs=10), 7, Length(50, 10, 10, 7)),
        (dict(max_epochs=10, val_interval=4), 7, Length(50, 10, 3, 7)),  # 4, 8 and the last
        (dict(max_epochs=10, val_begin=9), 7, Length(50, 10, 2, 7)),
        (dict(max_steps=12, val_interval=5), 7, Length(12, 3, 3, 7)),
    ],
)
def test_what_a_run_does(train_cfg, val_images, length):
    assert length_of({'train_cfg': train_cfg}, length.steps, 5, val_images) == length


def test_seconds_of_the_steps_as_they_are():
    length = Length(steps=50, epochs=10, validations=2, val_images=30)
    pace = Pace(step=2.0, waiting=0.5, epoch_end=3.0, validation=5.0, steps=9)
    assert seconds_to_end(length, pace, 0.1, 8, 8) == 50 * 2 + 10 * 3 + 2 * 5


def test_seconds_of_larger_steps_grow_but_for_the_update():
    length = Length(steps=50, epochs=10, validations=1, val_images=30)
    pace = Pace(step=2.0, waiting=0.5, epoch_end=None, validation=None, steps=9)
    # An image takes (2 - .4) / 2; a step of 20 has one update; a validation is a third of a step's.
    expected = 50 * (0.4 + 20 * 0.8) + 30 * 0.8 / 3
    assert seconds_to_end(length, pace, 0.4, 20, 2) == pytest.approx(expected)


@pytest.mark.parametrize(('free', 'found'), [(3 * GIB, []), (3 * GIB - 1, ['disk_too_small'])])
def test_a_disk_holds_what_stays_and_what_is_being_written(free, found):
    assert [finding.name for finding in judge_disk(GIB, 2, free)] == found


def test_a_run_without_checkpoints_needs_no_disk():
    assert checkpoints_kept({'default_hooks': {'checkpoint': None}}, 15, 5) == 0
    assert judge_disk(GIB, 0, 0) == []


def test_durations():
    assert [duration(x) for x in (7, 600, 7200)] == ['7 seconds', '10 minutes', '2.0 hours']
