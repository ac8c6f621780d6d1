"""A run that is stopped by a signal anywhere ends, once resumed, as one that was not."""

import multiprocessing
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.fault_tolerance.signals import Stopped, StopSignals
from mae.utils.digest import weights_sha256

EMA = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1)
CHANGES = {
    'train_cfg.max_epochs': 2,
    'custom_hooks': [EMA],
    'default_hooks.checkpoint': dict(interval=4, by_epoch=False),
}


class Send(Hook):
    """Sends this process a signal at the n-th call of a hook point."""

    priority = 'VERY_HIGH'

    def __init__(self, point, number=1, signum=signal.SIGTERM):
        self.left, self.signum = number, signum
        setattr(self, point, self._count)

    def _count(self, runner, **others):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signum)


class Metrics(Hook):
    def __init__(self):
        self.seen = {}

    def after_val_epoch(self, runner, metrics=None):
        self.seen[runner.iter] = metrics


def run(runner, *hooks):
    """(what validation gave, hash of the weights and of their average, exit code)."""
    metrics, code = Metrics(), 0
    for hook in (*hooks, metrics):
        runner.register_hook(hook)
    with StopSignals() as runner.signals:
        try:
            runner.train()
        except Stopped as stopped:
            code = stopped.code
    (average,) = [hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook']
    models = [runner.model, getattr(average, 'ema_model', runner.model)]
    return metrics.seen, [weights_sha256(model.state_dict()) for model in models], code


@pytest.fixture(scope='module')
def whole_run():
    return {}


MOMENTS = [
    ('before_run', 1, 0),
    ('before_train', 1, 0),
    ('before_train_iter', 3, 3),
    ('after_train_iter', 3, 3),
    ('before_save_checkpoint', 1, 4),
    ('after_train_iter', 5, 5),
    ('after_train_epoch', 1, 5),
    ('before_val_iter', 1, 5),
    ('after_val_iter', 2, 5),
    ('before_val_iter', 3, 10),  # of the last validation
]


@pytest.mark.parametrize(('point', 'number', 'step'), MOMENTS)
def test_stopped_and_resumed(make_runner, whole_run, point, number, step):
    if not whole_run:
        whole_run['it'] = run(make_runner('whole', CHANGES, classify=True))
    metrics, weights, code = whole_run['it']
    assert code == 0
    assert sorted(metrics) == [5, 10]
    runner = make_runner('run', CHANGES, classify=True)
    before, _, code = run(runner, Send(point, number))
    assert code == 143
    assert (Path(runner.work_dir) / f'iter_{step}.pth').exists() == (step > 0)
    runner = make_runner('run', {**CHANGES, 'resume': True}, classify=True)
    after, resumed, code = run(runner)
    assert code == 0
    assert resumed == weights
    assert {**before, **after} == metrics


@pytest.mark.parametrize('point', ['after_train', 'after_run'])
def test_what_is_finished_is_not_stopped(make_runner, point):
    runner = make_runner('run', CHANGES)
    *_, code = run(runner, Send(point))
    assert code == 0
    assert runner.iter == 10


@pytest.mark.parametrize(
    ('signum', 'code'),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)],
)
@pytest.mark.parametrize('num_workers', [0, 1])
def test_while_waiting_for_data(make_runner, signum, code, num_workers, tmp_path, monkeypatch):
    """The wait is broken off."""
    from mae.datasets.sources.digits import Digits

    original, main = Digits.get_data_info, os.getpid()

    def hang(self, index):
        flag = tmp_path / 'fourth'
        if flag.exists():
            flag.unlink()
            os.kill(main, signum)
            time.sleep(60 if os.getpid() == main else 0.5)
        return original(self, index)

    class Flag(Hook):
        def after_train_iter(self, runner, **others):
            if runner.iter == 3 - bool(num_workers):
                (tmp_path / 'fourth').touch()

    monkeypatch.setattr(Digits, 'get_data_info', hang)
    changes = {**CHANGES, 'train_dataloader.num_workers': num_workers}
    if num_workers:
        changes['train_dataloader.prefetch_factor'] = 1
    runner = make_runner('run', changes)
    *_, found = run(runner, Flag())
    assert found == code
    assert (Path(runner.work_dir) / f'iter_{runner.iter}.pth').exists()
    assert runner.iter < 6


def test_workers_outlive_the_signals_of_a_group(make_runner):
    class Everybody(Hook):
        def before_train_iter(self, runner, **others):
            if runner.iter == 2:
                pids = ' '.join(str(worker.pid) for worker in multiprocessing.active_children())
                for name in ('INT', 'TERM', 'USR1'):  # of a launcher
                    subprocess.run(['sh', '-c', f'kill -{name} {pids}'], check=True)

    changes = {'train_dataloader.num_workers': 2, 'train_cfg.max_epochs': 2, 'custom_hooks': [EMA]}
    runner = make_runner('run', changes)
    *_, code = run(runner, Everybody())
    assert (code, runner.iter) == (0, 10)


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A fake one, which notes how it was called."""
    tool, calls = tmp_path / 'bin' / 'scontrol', tmp_path / 'calls'
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', f'{tool.parent}:{os.environ["PATH"]}')
    monkeypatch.setenv('SLURM_JOB_ID', '17')
    return lambda: calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(
    ('signum', 'changes', 'calls'),
    [
        (signal.SIGUSR1, {'resume': True}, ['requeue 17']),
        (signal.SIGUSR1, {}, []),  # it would start anew
        (signal.SIGUSR1, {'resume': True, 'load_from': 'iter_8.pth'}, []),  # from there each time
        (signal.SIGUSR1, {'resume': True, 'default_hooks.stop.requeue': False}, []),
        (signal.SIGTERM, {'resume': True}, []),
    ],
)
def test_requeue(make_runner, scontrol, signum, changes, calls):
    changes = {**CHANGES, 'default_hooks.stop.type': 'StopHook', **changes}
    if 'load_from' in changes:
        start = make_runner('start', {**CHANGES, 'train_cfg.max_epochs': 2})
        start.train()
        changes['load_from'] = str(Path(start.work_dir) / changes['load_from'])
    runner = make_runner('run', changes)
    *_, code = run(runner, Send('after_train_iter', 2, signum))
    assert code == 143
    assert scontrol() == calls


def test_an_elastic_run_is_requeued_whatever_it_was_started_from(
    make_runner, scontrol, monkeypatch
):
    monkeypatch.setenv('MAE_ELASTIC_RUN', '17')
    changes = {**CHANGES, 'default_hooks.stop.type': 'StopHook'}
    runner = make_runner('run', changes)
    *_, code = run(runner, Send('after_train_iter', 2, signal.SIGUSR1))
    assert (code, scontrol()) == (143, ['requeue 17'])


def test_without_the_hook_a_signal_ends_the_run_at_once(make_runner):
    runner = make_runner('run', {**CHANGES, 'default_hooks.stop': None})
    *_, code = run(runner, Send('after_train_iter', 2))
    assert code == 143
    assert not list(Path(runner.work_dir).glob('*.pth'))


def test_hash_is_of_names_types_shapes_and_bytes():
    weights = {'b': torch.arange(6.0).reshape(2, 3), 'a': torch.ones(2, dtype=torch.bfloat16)}
    digest = weights_sha256(weights)
    assert digest == weights_sha256(dict(reversed(weights.items())))
    assert weights_sha256({**weights, 'b': weights['b'].t().contiguous().t()}) == digest
    others = [
        {**weights, 'a': weights['a'].half()},
        {**weights, 'b': weights['b'].reshape(6)},
        {'c' if name == 'b' else name: value for name, value in weights.items()},
        {**weights, 'b': torch.nextafter(weights['b'], torch.tensor(9.0))},
    ]
    assert len({digest, *map(weights_sha256, others)}) == 5
    assert weights_sha256({'x': torch.tensor(1.0)})  # no dimension
