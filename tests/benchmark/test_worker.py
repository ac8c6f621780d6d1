"""Systems in worker processes: what they return, how they fail, which are started."""

import os
import signal
from functools import partial

import pytest

from mae.benchmark import systems
from mae.benchmark.worker import Worker, WorkerError, reason


class Counter:
    """A system that counts, in the process it was made in."""

    def __init__(self, start, error=None):
        if error is not None:
            raise error
        self.number = start

    def add(self, number):
        self.number += number
        return self.number

    def pid(self):
        return os.getpid()

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_system_lives_in_another_process():
    counter = Worker('counter', partial(Counter, 5))
    assert counter.call('add', 1) == 6
    assert counter.call('add', 1) == 7
    pid = counter.call('pid')
    assert pid != os.getpid()
    with pytest.raises(WorkerError, match=r'^counter: TypeError: (can only concatenate|unsupp)'):
        counter.call('add', 'x')
    assert counter.call('add', 1) == 8  # a mistake ends nothing
    counter.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_system_that_cannot_be_built(forked_workers):
    with pytest.raises(WorkerError, match=r'^ValueError: no kernel$'):
        Worker('counter', partial(Counter, 0, ValueError('no kernel\nfor this')))


@pytest.mark.parametrize(('wanted', 'seen'), [('0', False), ('1', True)])
def test_traceback_on_demand(forked_workers, monkeypatch, capfd, wanted, seen):
    monkeypatch.setenv('MAE_TRACEBACK', wanted)
    with pytest.raises(WorkerError):
        Worker('counter', partial(Counter, 0, ValueError('no kernel')))
    assert ('Traceback' in capfd.readouterr().err) == seen


def test_a_process_that_dies(forked_workers):
    counter = Worker('counter', partial(Counter, 0))
    for question in ('die', 'pid'):
        with pytest.raises(WorkerError, match=r'^counter: its process ended with status -9$'):
            counter.call(question)
    counter.close()


@pytest.fixture
def in_place(monkeypatch):
    """Systems by name instead of processes; an exception fails."""

    class Place:
        def __init__(self, name, build):
            assert build.args[1] == name
            self.keep, self.open = build.keywords['keep'], True
            if name in Place.fail:
                raise WorkerError(f'{name} is not installed')

        def close(self):
            self.open = False

    Place.fail = ()
    monkeypatch.setattr(systems, 'Worker', Place)
    return Place


def test_who_does_not_run_is_skipped_with_a_line(in_place, make_settings, capsys):
    in_place.fail = ('lightly',)
    with systems.start_systems('step', ['lightly', 'mmpretrain'], make_settings()) as (
        found,
        skipped,
    ):
        assert list(found) == ['mae', 'mmpretrain']
        assert skipped == {'lightly': 'lightly is not installed'}
        assert [system.keep for system in found.values()] == [True, False]
        assert all(system.open for system in found.values())
    assert not any(system.open for system in found.values())
    assert capsys.readouterr().out == 'skipped lightly: lightly is not installed\n'


def test_ours_is_not_skipped(in_place, make_settings):
    in_place.fail = ('mae',)
    with pytest.raises(WorkerError), systems.start_systems('step', [], make_settings()):
        pass


def test_peers_may_have_our_allocator(in_place, make_settings):
    with systems.start_systems('step', ['lightly'], make_settings(), equal_allocator=True) as (
        found,
        _,
    ):
        assert [system.keep for system in found.values()] == [True, True]


def test_reason_is_one_short_line():
    error = ModuleNotFoundError("No module named 'x'", name='x')
    assert reason(error) == 'x is not installed'
    assert len(reason(ValueError('a' * 500))) == 200
    assert reason(ValueError()) == 'ValueError: '
