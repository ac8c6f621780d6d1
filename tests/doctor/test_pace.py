"""Who waits for whom, and what a trial run measures."""

from types import SimpleNamespace

import pytest

from mae.doctor import pace
from mae.doctor.pace import EnoughSeen, Pace, Stopwatch, judge_pace


@pytest.mark.parametrize(('waiting', 'is_slow'), [(0.0, False), (0.2, False), (0.3, True)])
def test_a_loader_that_is_waited_for(waiting, is_slow):
    found = judge_pace(100, 200, Pace(1.0, waiting, None, None, 9))
    assert [finding.name for finding in found] == ['slow_loader'] * is_slow


def test_waiting_for_a_fast_loader_is_the_fault_of_other_work():
    assert judge_pace(3339, 288, Pace(1.0, 0.33, None, None, 9)) == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that is put forward by hand."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(pace.time, 'perf_counter', lambda: clock.now)
    return clock


def run(watch, clock, epochs, steps, saving=0.0, validating=0.0):
    """Epochs of steps that wait 1 and compute 2; the first of an epoch waits 3."""
    for epoch in range(epochs):
        runner = SimpleNamespace(epoch=epoch)
        watch.before_train_epoch(runner)
        for step in range(steps):
            clock.now += 1 if step else 3
            watch.before_train_iter(runner)
            clock.now += 2
            watch.after_step(runner)
        clock.now += saving
        watch.before_val(runner)
        clock.now += validating
        watch.after_val(runner)


def test_the_parts_of_a_run_are_told_apart(clock):
    watch = Stopwatch(1e9)
    run(watch, clock, epochs=3, steps=5, saving=7, validating=11)
    # An epoch's end is what saving and the slow first step add to a step.
    assert watch.pace() == Pace(3.0, 1.0, 7 + 5 - 3, 11.0, 12)


def test_a_trial_run_ends_after_its_time_but_not_before_it_has_seen_steps(clock):
    watch = Stopwatch(0.0)
    with pytest.raises(EnoughSeen):
        run(watch, clock, epochs=1, steps=100)
    assert watch.pace() == Pace(3.0, 1.0, None, None, 4)
    watch = Stopwatch(30.0)
    with pytest.raises(EnoughSeen):
        run(watch, clock, epochs=1, steps=100)
    assert len(watch.steps) == 11


def test_epochs_of_one_step_have_a_pace_and_one_step_alone_has_none(clock):
    watch = Stopwatch(0.0)
    with pytest.raises(EnoughSeen):
        run(watch, clock, epochs=100, steps=1, saving=7, validating=11)
    assert watch.pace() == Pace(7 + 3 + 2, 3.0, None, 11.0, 4)
    watch = Stopwatch(0.0)
    run(watch, clock, epochs=1, steps=1)
    assert watch.pace() is None
