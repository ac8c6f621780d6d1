"""Logs are read as they stand, also while they are written."""

import json
import os

import pytest

from mae.visualization.runs.logs import (
    find_scalars,
    images_per_second,
    read_scalars,
    seconds_per_step,
    with_key,
)

LINES = [
    {'loss': 1.5, 'lr': 0.1, 'time': 0.5, 'epoch': 1, 'step': 10},
    {'loss': 0.5, 'lr': 0.0, 'time': 0.25, 'epoch': 2, 'step': 20},
    {'top1': 75.0, 'step': 20},
]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def log(tmp_path):
    text = ''.join(json.dumps(line) + '\n' for line in LINES)
    return write(tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json', text)


def test_all_lines(log):
    assert read_scalars(log) == LINES


def test_half_a_line_is_left_out(log):
    with log.open('a') as file:
        file.write('{"loss": 0.4, "ep')
    assert read_scalars(log) == LINES


def test_a_broken_line_is_named(log):
    log.write_text('{"loss": 1}\nnonsense\n{"loss": 2}\n')
    with pytest.raises(ValueError, match=r'scalars\.json:2: not a line of JSON'):
        read_scalars(log)


def test_what_is_no_log(log):
    log.write_text('[1, 2]\n')
    with pytest.raises(ValueError, match=r'scalars\.json:1: no scalars by name'):
        read_scalars(log)
    log.write_bytes(b'\x89PNG\n')
    with pytest.raises(ValueError, match=r'scalars\.json is no log of scalars'):
        read_scalars(log)


def test_newest_log_wins(log, tmp_path):
    newer = write(tmp_path / '20260101_000001' / 'vis_data' / 'scalars.json', '')
    assert find_scalars(tmp_path) == newer


def test_logs_of_earlier_runs_do_not_count(log, tmp_path):
    os.utime(log, (1000, 1000))
    assert find_scalars(tmp_path, since=999) == log
    assert find_scalars(tmp_path, since=1001) is None
    assert find_scalars(tmp_path / 'nowhere') is None


def test_records_by_key(log):
    assert with_key(LINES, 'loss') == LINES[:2]
    assert with_key(LINES, 'top1') == LINES[2:]
    with pytest.raises(ValueError, match="holds no 'top5'"):
        with_key(LINES, 'top5')


def test_images_per_second_weighs_by_steps():
    # 10 steps of half a second, then 10 of a quarter: 20 * 64 images in 7.5 s.
    assert images_per_second(LINES[:2], 64) == pytest.approx(20 * 64 / 7.5)
    assert seconds_per_step(LINES[:2]) == pytest.approx(7.5 / 20)
    assert seconds_per_step(LINES[2:]) is None
    with pytest.raises(ValueError, match='no times of steps'):
        images_per_second(LINES[2:], 64)


def test_steps_after_going_back_to_a_checkpoint():
    records = [{'loss': 1.0, 'time': 1.0, 'step': n} for n in (10, 5, 10)]
    assert seconds_per_step(records) == 1.0


@pytest.mark.parametrize(
    'line',
    [
        '[1, 2]',
        '{"loss": "much", "step": 1}',
        '{"loss": 1, "iter": 1}',
        f'{{"loss": 1{"0" * 400}}}',
    ],
)
def test_a_line_without_scalars_is_named(tmp_path, line):
    path = write(tmp_path / 'scalars.json', f'{line}\n')
    with pytest.raises(ValueError, match=r'scalars\.json:1: no scalars by name'):
        read_scalars(path)
