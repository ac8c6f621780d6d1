import time

import pytest

from mae.benchmark.systems import fastest


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


def offer(*systems):
    return {system.switch: (lambda system=system: system) for system in systems}


def test_the_fastest_that_runs_is_taken(make_settings, clock, capsys):
    def lasting(seconds):
        return lambda: clock.__setitem__(0, clock[0] + seconds)

    slow, fast = System('slow', lasting(2.0)), System('fast', lasting(1.0))
    broken = System('broken', error=RuntimeError('no kernel'))
    found = fastest(offer(slow, fast, broken), make_settings(), 'planted')
    assert found.facts() == {'switch': 'fast', 'check': 0.0}  # taken before any step
    assert found.seconds(3) == 3.0
    assert capsys.readouterr().out.splitlines()[0] == 'starting planted slow'


def test_none_runs(make_settings):
    broken = System('', error=RuntimeError('no kernel'))
    with pytest.raises(RuntimeError, match='no kernel'):
        fastest(offer(broken), make_settings(), 'planted')
