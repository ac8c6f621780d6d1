"""What `run.json` says of a run, and that a work dir holds one run at a time."""

import json
import os
import signal
import socket
import sys

import pytest
from mmengine.hooks import Hook

from mae.apis import load_config, train
from mae.fault_tolerance.lock import folder_lock
from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.signals import Stopped
from mae.registry import HOOKS
from mae.utils.digest import weights_sha256
from mae.utils.errors import ConfigError, NonFiniteError

SMALL = {
    'model.encoder.arch': dict(embed_dim=16, depth=1, num_heads=2),
    'train_cfg.max_epochs': 1,
    'param_scheduler.warmup_epochs': 0,
}


@HOOKS.register_module()
class AtStep(Hook):
    """Does something after two steps, and keeps what `run.json` said then."""

    does = staticmethod(lambda: None)
    said: dict

    def after_step(self, runner):
        if runner.iter == 2:
            AtStep.said = state_in(runner.work_dir)
            AtStep.does()


def state_in(work_dir):
    with open(f'{work_dir}/run.json') as file:
        return json.load(file)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(does, options) trains the small demo, with `does` called after two steps."""

    def run(does=lambda: None, **options):
        monkeypatch.setattr(AtStep, 'does', staticmethod(does))
        changes = {**SMALL, 'custom_hooks': [dict(type='AtStep')], **options}
        config = load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', changes)
        config.work_dir = str(tmp_path / 'run')
        config.experiment_name = f'runs-{os.urandom(4).hex()}'
        return train(config)

    return run


def test_from_start_to_end_and_over_an_interruption(start, tmp_path):
    with pytest.raises(Stopped) as stopped:
        start(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert stopped.value.code == 143
    assert AtStep.said['state'] == 'running'
    assert (AtStep.said['pid'], AtStep.said['host']) == (os.getpid(), socket.gethostname())
    assert AtStep.said['max_steps'] == 22
    state = state_in(tmp_path / 'run')
    told = [state[key] for key in ('state', 'reason', 'step', 'exit_code', 'weights_sha256')]
    assert told == ['stopped', 'SIGTERM', 2, 143, None]
    runner = start(resume=True)
    state = state_in(tmp_path / 'run')
    assert (state['state'], state['step'], state['epoch']) == ('finished', 22, 1)
    assert state['resumed_from'] == str(tmp_path / 'run' / 'iter_2.pth')
    assert state['weights_sha256'] == weights_sha256(runner.model.state_dict())
    assert state['exit_code'] == 0
    assert state['versions']['torch']


def test_a_later_start_of_an_elastic_run_goes_on(start, tmp_path, monkeypatch):
    """`--load-from` counts until the run has a checkpoint of its own, beside older ones too."""
    start()
    weights = str(tmp_path / 'weights.pth')
    (tmp_path / 'run' / 'epoch_1.pth').rename(weights)
    monkeypatch.setenv('MAE_ELASTIC_RUN', 'run7')
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            start(lambda: _raise(NonFiniteError('before its first save')), load_from=weights)
        state = state_in(tmp_path / 'run')
        assert state['resumed_from'] is None
    assert state['elastic']['restarts_in_vain'] == 1
    with pytest.raises(Stopped):
        start(lambda: os.kill(os.getpid(), signal.SIGTERM), load_from=weights)
    assert state_in(tmp_path / 'run')['resumed_from'] is None
    start(load_from=weights)
    state = state_in(tmp_path / 'run')
    assert state['resumed_from'] == str(tmp_path / 'run' / 'iter_2.pth')
    assert (state['elastic']['restarts_in_vain'], state['restarts']) == (0, 1)


def _raise(error):
    raise error


def test_a_failed_run_says_why_and_where(start, tmp_path):
    def fail():
        raise ValueError('the reason')

    with pytest.raises(ValueError, match='the reason'):
        start(fail)
    state = state_in(tmp_path / 'run')
    assert (state['state'], state['reason'], state['exit_code']) == ('failed', 'the reason', 1)
    assert state['step'] == 2


@pytest.mark.parametrize(('given', 'code'), [(3, 3), (None, 0), ('a word', 1)])
def test_a_hook_that_leaves(start, tmp_path, given, code):
    with pytest.raises(SystemExit):
        start(lambda: sys.exit(given))
    state = state_in(tmp_path / 'run')
    assert (state['state'], state['step'], state['exit_code']) == ('failed', 2, code)


def test_numbers_that_are_bad_from_the_start_leave_their_autopsy(start, tmp_path):
    options = {'base_lr': 1e30, 'default_hooks.guard.patience': 2}
    with pytest.raises(NonFiniteError, match='look at the autopsy files'):
        start(**options)
    assert list((tmp_path / 'run').glob('autopsy_step_*.json'))
    assert state_in(tmp_path / 'run')['state'] == 'failed'


def test_second_run_in_a_work_dir_is_refused_and_touches_nothing(start, tmp_path):
    def try_another():
        before = sorted((tmp_path / 'run').rglob('*'))
        with pytest.raises(ConfigError, match='still at work'):
            start()
        assert sorted((tmp_path / 'run').rglob('*')) == before

    start(try_another)
    with folder_lock(tmp_path / 'run'):
        pass


def test_run_that_fails_at_once_leaves_no_lock(tmp_path):
    changes = {**SMALL, 'train_dataloader.sampler.num_repeats': 0}
    config = load_config('mae_vit-mini-p4_1xb64-coslr-170e_digits-16', changes)
    config.work_dir = str(tmp_path / 'run')
    with pytest.raises(ConfigError):
        train(config)
    assert not (tmp_path / 'run').exists()


def test_full_disk_only_warns(tmp_path, monkeypatch):
    state = RunState(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mae.fault_tolerance.run_json.write_json', full)
    with pytest.warns(UserWarning, match=r'run\.json .*No space left'):
        state.write(step=3)
    monkeypatch.undo()
    state.write(state='finished')
    assert state_in(tmp_path)['step'] == 3
    assert state.is_over
