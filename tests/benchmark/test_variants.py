import re
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import torch

from mae.benchmark.variants import invite, reason

CPU = torch.device('cpu')


@pytest.fixture
def clock(monkeypatch):
    """The time that benchmarks read: it moves only where a step says so."""
    now = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    return now


class System:
    def __init__(self, switch, lasts=None, error=None):
        self.switch, self.lasts, self.error = switch, lasts, error
        self.steps = 0

    def check(self):
        return float(self.steps)

    def step(self):
        self.steps += 1
        if self.lasts:
            self.lasts()
        if self.error:
            raise self.error


@pytest.fixture
def offer(monkeypatch):
    """A module of peers named 'planted' whose task `race` gives these systems."""

    def plant(*systems):
        module = ModuleType('planted')
        module.race = lambda given: {s.switch: (lambda s=s: s) for s in systems}
        monkeypatch.setitem(sys.modules, 'mae.benchmark.peers.planted', module)

    return plant


def test_the_fastest_that_runs_is_taken(offer, clock):
    def lasting(seconds):
        return lambda: clock.__setitem__(0, clock[0] + seconds)

    broken = System('broken', error=RuntimeError('no kernel'))
    offer(System('slow', lasting(2.0)), System('fast', lasting(1.0)), broken)
    found, skipped = invite('race', ['planted'], None, CPU)
    assert found['planted'].system.switch == 'fast'
    assert found['planted'].check == 0.0  # taken before any step
    assert skipped == {}


def test_what_does_not_run_is_skipped_with_a_line(offer, capsys):
    offer(System('', error=RuntimeError('no kernel\nfor this')))
    found, skipped = invite('race', ['planted', 'absent'], None, CPU)
    assert found == {}
    assert skipped['planted'] == 'RuntimeError: no kernel'
    assert 'skipped planted: RuntimeError: no kernel' in capsys.readouterr().out.splitlines()


def test_missing_library_is_skipped(monkeypatch, capsys):
    peer = 'mae.benchmark.peers.lightly'
    for name in [n for n in sys.modules if n.startswith('lightly.') or n == peer]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'lightly', None)  # as if it were not installed
    found, skipped = invite('step', ['lightly'], SimpleNamespace(), CPU)
    assert found == {}
    assert re.fullmatch(r'lightly(\.models)? is not installed', skipped['lightly'])
    assert capsys.readouterr().out == f'skipped lightly: {skipped["lightly"]}\n'


def test_reason_is_one_short_line():
    error = ModuleNotFoundError("No module named 'x'", name='x')
    assert reason(error) == 'x is not installed'
    assert len(reason(ValueError('a' * 500))) == 200
    assert reason(ValueError()) == 'ValueError: '
