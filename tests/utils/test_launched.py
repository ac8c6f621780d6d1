"""What the launcher and its processes tell each other, and that they end with it."""

import json
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress

import pytest

from mae.utils.launched import die_with_parent, elastic_run, is_first_to_say, tell_launcher

LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='prctl is of Linux')
FORK = multiprocessing.get_context('fork')


def rank_of(pipe):
    signal.signal(signal.SIGTERM, lambda *_: pipe.send('told'))
    die_with_parent()
    pipe.send(os.getpid())
    time.sleep(60)


def launcher_of(pipe):
    FORK.Process(target=rank_of, args=(pipe,)).start()
    time.sleep(60)


@LINUX
def test_a_process_is_told_when_its_launcher_is_killed(monkeypatch):
    monkeypatch.delenv('MAE_LAUNCHER_PID', raising=False)
    ours, theirs = FORK.Pipe()
    launcher = FORK.Process(target=launcher_of, args=(theirs,))
    launcher.start()
    assert ours.poll(60)
    pid = ours.recv()
    launcher.kill()
    try:
        assert ours.poll(10)
        assert ours.recv() == 'told'
    finally:
        launcher.join()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@LINUX
def test_a_process_whose_launcher_has_ended_does_not_begin(monkeypatch):
    ended = FORK.Process(target=os.getpid)
    ended.start()
    ended.join()

    def check():
        os.environ['MAE_LAUNCHER_PID'] = str(ended.pid)
        try:
            die_with_parent()
        except ValueError as error:
            os._exit(7 if 'launcher of this process has ended' in str(error) else 1)

    child = FORK.Process(target=check)  # the request to the system would stay with this process
    child.start()
    child.join(60)
    assert child.exitcode == 7


@pytest.mark.parametrize(('value', 'expected'), [(None, None), ('', None), ('run7', 'run7')])
def test_the_name_of_an_elastic_run(value, expected, monkeypatch):
    monkeypatch.delenv('MAE_ELASTIC_RUN', raising=False)
    if value is not None:
        monkeypatch.setenv('MAE_ELASTIC_RUN', value)
    assert elastic_run() == expected


def test_one_process_of_a_start_says_a_message(tmp_path, monkeypatch):
    def ask(message, rank, attempt=0):
        folder = tmp_path / f'attempt_{attempt}' / str(rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(folder / 'error.json'))
        return is_first_to_say(message)

    assert ask('no such file', 1)
    assert not ask('no such file', 0)
    assert ask('another', 0)
    assert ask('no such file', 0, attempt=1)
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'no' / 'folder' / 'error.json'))
    assert is_first_to_say('no such file')  # nothing can be noted
    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE')
    assert all(is_first_to_say('no such file') for _ in range(2))  # no launcher


def test_word_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_ERROR_FILE', raising=False)
    tell_launcher('to nobody', final=True)
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'no folder' / 'error.json'))
    tell_launcher('to a disk that refuses', final=True)
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'error.json'))
    tell_launcher('no such file', final=False)
    told = json.loads((tmp_path / 'error.json').read_text())
    assert (told['message'], told['final']) == ('no such file', False)
    assert abs(told['timestamp'] - time.time()) < 60
