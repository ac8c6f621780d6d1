"""Two processes do not write into one folder, and the dead hold nothing."""

import json
import multiprocessing
import os
import time

import pytest

from mae.fault_tolerance.lock import NAME, folder_lock
from mae.utils.errors import ConfigError

FORK = multiprocessing.get_context('fork')


def hold(folder, ready, children):
    with folder_lock(folder, 'a run', inherited=False):
        sleeper = FORK.Process(target=time.sleep, args=(60,))
        if children:
            sleeper.start()
        ready.send(sleeper.pid)
        time.sleep(60)


def test_second_is_refused_until_the_first_is_done(tmp_path):
    message = rf'new: .*still at work .*\(process {os.getpid()} on [^\n]*\); '
    with folder_lock(tmp_path / 'new'), pytest.raises(ConfigError, match=message):  # noqa: SIM117
        with folder_lock(tmp_path / 'new'):
            pass
    with folder_lock(tmp_path / 'new'):
        pass


def test_child_that_outlives_its_parent_keeps_an_inherited_lock(tmp_path, monkeypatch):
    monkeypatch.setattr('mae.fault_tolerance.lock._ORPHANS', 0.0)
    with folder_lock(tmp_path, inherited=True):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    with pytest.raises(ConfigError, match='still at work'), folder_lock(tmp_path):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with folder_lock(tmp_path):
        pass


@pytest.mark.parametrize('children', [False, True])
def test_killed_run_holds_nothing_though_its_workers_live(tmp_path, children):
    ours, theirs = FORK.Pipe()
    run = FORK.Process(target=hold, args=(tmp_path, theirs, children))
    run.start()
    worker = ours.recv()
    with pytest.raises(ConfigError, match=f'process {run.pid} on'), folder_lock(tmp_path):
        pass
    run.kill()
    run.join()
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())['pid'] == os.getpid()
    if children:
        os.kill(worker, 9)


def test_lock_tidied_away_meanwhile_is_made_anew(tmp_path, monkeypatch):
    from mae.fault_tolerance import lock

    seen, flock = [], lock.fcntl.flock

    def after_another_has_tidied(descriptor, how):
        flock(descriptor, how)
        if not seen:
            (tmp_path / NAME).unlink()
        seen.append(descriptor)

    monkeypatch.setattr(lock.fcntl, 'flock', after_another_has_tidied)
    with folder_lock(tmp_path):
        monkeypatch.undo()
        with pytest.raises(ConfigError), folder_lock(tmp_path):
            pass
    assert len(seen) == 2


def test_file_system_without_locks(tmp_path, monkeypatch):
    from mae.fault_tolerance import lock

    def refuse(descriptor, how):
        raise OSError(lock.errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(lock.fcntl, 'flock', refuse)
    with pytest.warns(UserWarning, match='knows no locks'), folder_lock(tmp_path):
        pass
