"""Hung and dead processes end a run within the time-out, with a word about why."""

import json
import multiprocessing
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook

from mae.apis.cli import explain, run_command
from mae.apis.runs import train
from mae.datasets.sources.digits import Digits
from mae.fault_tolerance import watchdog
from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.watchdog import IdleTime, WatchdogHook
from mae.registry import HOOKS

FORK = multiprocessing.get_context('fork')  # starting Python anew would take seconds


def child(how, workers, config, log):
    """A run whose data hang, in a worker or in the main process, or whose worker is killed."""
    original, now = Digits.get_data_info, Path(config.work_dir) / 'now'

    def spoilt(self, index):
        if now.exists():
            if how == 'kill':
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        return original(self, index)

    Digits.get_data_info = spoilt
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = sys.__stderr__
    code = 0
    try:
        run_command(lambda: train(config))
    except SystemExit as end:
        code = end.code
    sys.stderr.flush()
    os._exit(code)


@HOOKS.register_module()
class SpoilDataFromNowOn(Hook):
    def after_train_iter(self, runner, **others):
        if runner.iter == 1:
            Path(runner.work_dir, 'now').touch()


@pytest.mark.parametrize(('how', 'workers'), [('hang', 1), ('kill', 1), ('hang', 0)])
def test_run_ends(make_runner, tmp_path, how, workers):
    config = make_runner(
        'config',
        {
            'custom_hooks': [dict(type='SpoilDataFromNowOn')],
            'env_cfg.dist_cfg': dict(timeout=1.0),
            'train_dataloader.num_workers': workers,
        },
    ).cfg
    config.work_dir = str(tmp_path / 'run')
    config.experiment_name = f'{how}-{workers}'
    log = tmp_path / 'stderr'
    process = FORK.Process(target=child, args=(how, workers, config, log))
    process.start()
    process.join(60)
    stderr = log.read_text()
    assert process.exitcode == 1, stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith('error: ')]
    state = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert (state['state'], state['exit_code']) == ('failed', 1), stderr
    assert state['reason'] in line
    if how == 'kill':
        assert re.search(r'data worker (\d+ )?was ended by the system', line)
        assert 'Traceback' not in stderr
    else:
        assert re.search(r'no progress for 1 s after step \d, waiting for data', line)
        assert 'in _wait_for' in stderr
        assert 'in spoilt' in stderr  # of the worker, too


def test_steps_put_it_off_and_what_hooks_do_is_not_watched(make_runner, monkeypatch):
    given_up = []
    monkeypatch.setattr(watchdog, 'end_process', given_up.append)

    class Slow(Hook):
        def after_train_iter(self, runner, **others):
            time.sleep(0.25)

        def after_train_epoch(self, runner):
            time.sleep(1.7)

    changes = {
        'default_hooks.watchdog': dict(type='WatchdogHook', seconds=1.5),
        'train_cfg.max_epochs': 2,
    }
    runner = make_runner('run', changes)
    runner.register_hook(Slow())
    runner.train()
    assert not given_up


def test_time_in_which_the_process_stood_still_is_left_out(monkeypatch):
    now = 0.0
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: now)
    idle, found = IdleTime(5.0), []
    for passed, progress in ((5, 1), (5, 1), (6, 1), (600, 1), (5, 1), (5, 2), (5, 2)):
        now += passed
        found.append(idle.look(progress))
    assert found == [0, 5, 11, 21, 26, 0, 5]  # of ten minutes two intervals


def in_a_step(pipe):
    """A step of half a second, in a process that is stopped meanwhile for longer than its limit."""
    hook = WatchdogHook(seconds=2.0)
    runner = SimpleNamespace(cfg={}, iter=3, distributed=False, run_state=None)
    hook.before_train(runner)
    hook.before_train_iter(runner)
    pipe.send('begun')
    for _ in range(5):
        time.sleep(0.1)
    hook.after_step(runner)
    os._exit(0)


def test_a_process_that_was_stopped_goes_on():
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=in_a_step, args=(theirs,))
    process.start()
    assert ours.recv() == 'begun'
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2.6)
    os.kill(process.pid, signal.SIGCONT)
    process.join(30)
    assert process.exitcode == 0


class Limits(Hook):
    """Notes the limit of the watchdog in each phase."""

    priority = 'LOWEST'

    def __init__(self, watchdog):
        self.watchdog = watchdog
        self.seen = {}

    def note(self, phase):
        self.seen.setdefault(phase, set()).add(self.watchdog._limit)

    def before_train_iter(self, runner, **others):
        self.note('step' if runner.iter % len(runner.train_dataloader) else 'first step')

    def after_train_epoch(self, runner):
        self.note('end of an epoch')

    def after_all(self, runner):
        self.note('end')


def test_only_steps_have_the_short_limit(make_runner, monkeypatch):
    collective = []
    monkeypatch.setattr(watchdog, 'set_timeout', collective.append)
    changes = {
        'env_cfg.dist_cfg': dict(timeout=70, start_timeout=80),
        'train_cfg.max_epochs': 2,
    }
    runner = make_runner('run', changes)
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, WatchdogHook)]
    limits = Limits(hook)
    runner.register_hook(limits)
    runner.train()
    assert limits.seen['step'] == {70}
    assert limits.seen['first step'] == limits.seen['end of an epoch'] == {80}
    assert limits.seen['end'] == {80}
    assert collective == [70, 80] * 2


def start_that_hangs(config, state):
    with open(os.devnull, 'w') as sys.stderr, watchdog.limited_start(config, state):
        time.sleep(60)


def test_processes_that_do_not_find_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, '_LEEWAY', 0.0)
    for name, value in dict(RANK='1', WORLD_SIZE='2', MASTER_ADDR='node0').items():
        monkeypatch.setenv(name, value)
    limits = dict(timeout=0.2, start_timeout=0.5)
    config = {'launcher': 'pytorch', 'env_cfg': {'dist_cfg': limits}}
    process = FORK.Process(target=start_that_hangs, args=(config, RunState(tmp_path)))
    process.start()
    process.join(30)
    assert process.exitcode == 1
    state = json.loads((tmp_path / 'run.json').read_text())
    assert (state['state'], state['exit_code']) == ('failed', 1)
    assert re.search(r'the 2 processes have not found each other within 0\.5 s', state['reason'])


def test_one_process_has_nobody_to_find():
    with watchdog.limited_start({'env_cfg': {'dist_cfg': {'timeout': 0.1}}}, None):
        time.sleep(0.2)


def test_seconds_that_make_no_sense():
    with pytest.raises(ValueError, match='must be positive, not 0'):
        WatchdogHook(seconds=0)


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        (
            'DataLoader worker (pid 17) is killed by signal: Killed. ',
            r'^data worker 17 was ended by the system \(is killed by signal: Killed\), ',
        ),
        ('DataLoader worker (pid(s) 17, 18) exited unexpectedly', r'^data worker 17, 18 was ended'),
        (
            '[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711',
            r'^lost another process of the run',
        ),
        (
            'Gloo connectFullMesh failed with [../gloo/transport/tcp/pair.cc:144] no error',
            r'^the processes of the run cannot reach each other; set GLOO_SOCKET_IFNAME',
        ),
    ],
)
def test_what_died_is_told_in_a_line(text, line):
    assert re.match(line, explain(RuntimeError(text)))


def test_other_runtime_errors_are_bugs():
    assert explain(RuntimeError('mat1 and mat2 shapes cannot be multiplied')) is None
