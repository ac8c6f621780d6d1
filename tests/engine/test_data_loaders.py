"""The batch per device that keeps the global batch, and the workers that the cores allow."""

import logging
import warnings

import pytest

from mae.engine import data_loaders
from mae.engine.data_loaders import batch_per_device, with_workers


@pytest.mark.parametrize(
    ('most', 'total', 'devices', 'expected'),
    [
        (512, 4096, 8, 512),  # as the recipe says
        (512, 4096, 1, 512),  # accumulation of 8
        (512, 4096, 16, 256),  # more devices than the recipe: less on each
        (64, 64, 2, 32),
        (48, 64, 1, 32),  # the largest divisor that fits
        (512, 4096, 3, 512),  # none divides: batches differ by one
        (64, 127, 1, 64),  # a prime share: 1 would fit, but nobody wants it
        (8, 4, 8, 8),  # more devices than images: left for the sampler to refuse
    ],
)
def test_batch_per_device(most: int, total: int, devices: int, expected: int) -> None:
    assert batch_per_device(most, total, devices) == expected


@pytest.mark.parametrize(
    ('given', 'cores', 'expected'),
    [('auto', 16, 14), ('auto', 64, 16), ('auto', 2, 1), ('auto', 1, 1), (4, 16, 4), (0, 1, 0)],
)
def test_workers_follow_the_cores(given, cores, expected, monkeypatch):
    monkeypatch.setattr(data_loaders, 'cores_at_hand', lambda: cores)
    monkeypatch.setattr(data_loaders, 'print_log', lambda *args: pytest.fail(args[0]))
    assert with_workers({'num_workers': given, 'batch_size': 3}) == {
        'num_workers': expected,
        'batch_size': 3,
    }
    assert with_workers({'batch_size': 3}) == {'batch_size': 3}


def test_more_workers_than_cores_are_told_in_one_line(make_runner, monkeypatch):
    told = []
    monkeypatch.setattr(data_loaders, 'cores_at_hand', lambda: 2)
    monkeypatch.setattr(data_loaders, 'print_log', lambda *args: told.append(args))
    runner = make_runner(changes={'train_dataloader.num_workers': 300})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        runner.train_dataloader  # noqa: B018  (builds it; workers start later)
        runner.build_train_loop(runner._train_loop)
    ((line, logger, level),) = told
    assert line.startswith('num_workers=300, but this process has 2 cores')
    assert (logger, level) == ('current', logging.WARNING)
