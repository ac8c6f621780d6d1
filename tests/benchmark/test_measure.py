import time
from statistics import quantiles

import pytest

from mae.benchmark import measure
from mae.benchmark.measure import Timing, alternate, clock_of


def test_order_rotates_and_everyone_works_alike(monkeypatch):
    calls = []
    clocks = {name: clock_of(lambda name=name: calls.append(name)) for name in 'abc'}
    timings = alternate(clocks, rounds=3, steps=2, warmup=1)
    assert calls[:3] == ['a', 'b', 'c']
    assert calls[3:] == [*'aabbcc', *'bbccaa', *'ccaabb']
    assert {name: len(timing.rounds) for name, timing in timings.items()} == dict.fromkeys('abc', 3)


def test_seconds_are_those_of_one_unit(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])

    def work():
        now[0] += 3.0

    assert alternate({'a': clock_of(work)}, rounds=2, steps=5)['a'] == Timing((3.0, 3.0))


def test_median_and_spread():
    timing = Timing((1.0, 9.0, 2.0, 3.0, 4.0))
    low, _, high = quantiles(timing.rounds, n=4, method='inclusive')
    assert timing.median == 3.0
    assert timing.spread == pytest.approx((high - low) / 3.0)
    assert (low, high) == (2.0, 4.0)
    assert Timing((5.0,)).spread == 0.0


@pytest.mark.parametrize(('rounds', 'steps'), [(0, 1), (1, 0)])
def test_nothing_to_measure(rounds, steps):
    with pytest.raises(ValueError, match='at least 1, not'):
        alternate({'a': clock_of(lambda: None)}, rounds=rounds, steps=steps)


def test_host_waits_for_a_gpu_around_the_steps_only(monkeypatch):
    calls = []
    monkeypatch.setattr(measure.torch.cuda, 'synchronize', lambda device: calls.append('wait'))
    clock_of(lambda: calls.append('a'), 'cuda')(3)
    assert calls == ['wait', 'a', 'a', 'a', 'wait']
