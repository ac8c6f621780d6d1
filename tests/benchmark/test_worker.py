"""Systems in worker processes: what they return, how they fail, which are started."""

import os
import signal
from collections import deque
from functools import partial

import pytest

from mae.benchmark import systems
from mae.benchmark.worker import Worker, WorkerError, reason


class System:
    def __init__(self, error=None):
        if error is not None:
            raise error

    def pid(self):
        return os.getpid()

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_system_lives_in_another_process():
    """It is of the library: a process started anew imports the module of what it builds."""
    numbers = Worker('numbers', partial(deque, [5]))
    numbers.call('append', 7)
    assert numbers.call('count', 7) == 1
    pid = numbers._process.pid
    assert pid != os.getpid()
    os.kill(pid, 0)
    with pytest.raises(WorkerError, match=r'^numbers: TypeError: .*append'):
        numbers.call('append')
    assert numbers.call('pop') == 7  # a mistake ends nothing
    numbers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_system_that_cannot_be_built(forked_workers):
    with pytest.raises(WorkerError, match=r'^ValueError: no kernel$'):
        Worker('system', partial(System, ValueError('no kernel\nfor this')))


@pytest.mark.parametrize(('wanted', 'seen'), [('0', False), ('1', True)])
def test_traceback_on_demand(forked_workers, monkeypatch, capfd, wanted, seen):
    monkeypatch.setenv('MAE_TRACEBACK', wanted)
    with pytest.raises(WorkerError):
        Worker('system', partial(System, ValueError('no kernel')))
    assert ('Traceback' in capfd.readouterr().err) == seen


def test_a_process_that_dies(forked_workers):
    system = Worker('system', System)
    for question in ('die', 'pid'):
        with pytest.raises(WorkerError, match=r'^system: its process ended with status -9$'):
            system.call(question)
    system.close()


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
