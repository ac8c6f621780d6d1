import time
from multiprocessing import get_context
from statistics import quantiles

import pytest

from mae.benchmark import measure
from mae.benchmark.measure import Timing, alternate, clock_of, processor_seconds

FORK = get_context('fork')


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


def test_processor_time_counts_the_processes_that_were_started(monkeypatch):
    pipes = FORK.Pipe(), FORK.Pipe()

    def work():
        pipes[1][1].recv()
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        pipes[0][0].send('done')
        pipes[1][1].recv()

    worker = FORK.Process(target=work)
    # What other tests have started may end meanwhile.
    monkeypatch.setattr('mae.benchmark.measure.active_children', lambda: [worker])
    worker.start()
    before = processor_seconds()  # a fork of this process takes time of its own
    pipes[1][0].send('begin')
    pipes[0][1].recv()
    assert 0.2 <= processor_seconds() - before < 0.4
    waiting = clock_of(lambda: time.sleep(0.05), cpu_time=True)
    assert waiting(2) < 0.05
    pipes[1][0].send('end')
    worker.join()


def test_host_waits_for_a_gpu_around_the_steps_only(monkeypatch):
    calls = []
    monkeypatch.setattr(measure.torch.cuda, 'synchronize', lambda device: calls.append('wait'))
    clock_of(lambda: calls.append('a'), 'cuda')(3)
    assert calls == ['wait', 'a', 'a', 'a', 'wait']
