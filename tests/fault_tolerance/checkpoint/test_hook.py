import errno
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from mae.apis import convert
from mae.engine import start
from mae.engine.hooks import CheckpointHook
from mae.fault_tolerance.checkpoint import load_checkpoint, newest_verified, save, verified
from mae.fault_tolerance.checkpoint.hook import check_space
from mae.fault_tolerance.checkpoint.manifest import read_manifest
from mae.utils.digest import weights_sha256
from mae.utils.errors import CheckpointError
from tests.faults.calls import failing


def periodic(work_dir):
    return sorted(path.name for path in Path(work_dir).glob('*_*.pth'))


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


class Watch(Hook):
    """Notes the checkpoints after each step, and what `last_checkpoint` names."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        hook_of(runner).wait()
        pointer = Path(runner.work_dir) / 'last_checkpoint'
        last = pointer.read_text() if pointer.exists() else None
        self.seen.append((len(periodic(runner.work_dir)), last))


def test_by_iteration(make_runner, monkeypatch):
    changes = {
        'default_hooks.checkpoint': dict(interval=2, by_epoch=False, max_keep=3),
        'train_cfg.max_epochs': 2,
    }
    runner = make_runner(changes=changes)
    watch, at_removal = Watch(), []
    runner.register_hook(watch)
    unlink = os.unlink

    def counting(path, *args, **kwargs):
        if Path(path).suffix == '.pth':
            last = Path((path.parent / 'last_checkpoint').read_text())
            load_checkpoint(last)
            at_removal.append((len(periodic(path.parent)), last.name, path.name))
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(os, 'unlink', counting)
    runner.train()
    for step, (count, last) in enumerate(watch.seen, 1):
        assert count == min(step // 2, 3)
        newest = Path(runner.work_dir) / f'iter_{step // 2 * 2}.pth'
        assert last == (str(newest) if step > 1 else None)
    # The new one is whole and named before the oldest goes: there are never fewer than 3.
    assert at_removal == [(4, 'iter_8.pth', 'iter_2.pth'), (4, 'iter_10.pth', 'iter_4.pth')]
    assert periodic(runner.work_dir) == ['iter_10.pth', 'iter_6.pth', 'iter_8.pth']


def test_the_end_is_saved_whatever_the_interval(make_runner):
    changes = {'default_hooks.checkpoint': dict(interval=2, max_keep=-1)}
    runner = make_runner('epochs', changes)
    runner.train()
    assert periodic(runner.work_dir) == ['epoch_2.pth', 'epoch_3.pth']
    changes = {'default_hooks.checkpoint': dict(interval=4, by_epoch=False, max_keep=-1)}
    runner = make_runner('iterations', changes)
    runner.train()
    steps = {load_checkpoint(p)['meta']['step'] for p in Path(runner.work_dir).glob('*_*.pth')}
    assert steps == {4, 8, 12, 15}


def test_plain_values_only(make_runner):
    runner = make_runner(changes={'train_cfg.max_epochs': 2})
    runner.train()
    path = Path(runner.work_dir) / 'epoch_2.pth'
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint['meta']['step'] == 10
    assert checkpoint['meta']['seed'] == 0
    assert checkpoint['meta']['cfg']['model']['type'] == 'MAE'
    weights = runner.model.state_dict()
    assert checkpoint['state_dict'].keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(checkpoint['state_dict'][name], value)


def test_names_of_the_classes_are_kept(make_runner):
    runner = make_runner(changes={'train_cfg.max_epochs': 2}, classify=True)
    runner.train()
    checkpoint = load_checkpoint(Path(runner.work_dir) / 'epoch_2.pth')
    assert checkpoint['meta']['classes'] == list('0123456789')


class Scores(Hook):
    """Replaces what validation measured, before the checkpoint hook sees it."""

    priority = 'VERY_HIGH'

    def __init__(self, *scores):
        self.scores = iter(scores)

    def after_val_epoch(self, runner, metrics=None):
        metrics['top1'] = next(self.scores)


def test_best(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 4}
    runner = make_runner(changes=changes, classify=True)
    runner.register_hook(Scores(30.0, 50.0, 40.0, 50.0))
    runner.train()
    work_dir = Path(runner.work_dir)
    assert load_checkpoint(work_dir / 'best.pth')['meta']['step'] == 10  # the first of equals
    assert load_checkpoint(work_dir / 'epoch_4.pth')['meta']['best'] == 50.0
    assert periodic(work_dir) == ['epoch_3.pth', 'epoch_4.pth']  # kept besides


def test_a_metric_that_is_no_number_is_never_the_best(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 3}
    runner = make_runner(changes=changes, classify=True)
    runner.register_hook(Scores(float('nan'), 30.0, float('nan')))
    runner.train()
    assert load_checkpoint(Path(runner.work_dir) / 'best.pth')['meta']['best'] == 30.0


def test_best_survives_an_interruption(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 2}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(50.0, 40.0))
    runner.train()
    changes |= {'train_cfg.max_epochs': 3, 'resume': True}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(40.0, 45.0))  # the end of the epoch is done again
    runner.train()
    assert load_checkpoint(Path(runner.work_dir) / 'best.pth')['meta']['step'] == 5


def test_best_of_what_is_not_measured(make_runner):
    runner = make_runner(changes={'default_hooks.checkpoint.save_best': 'top7'}, classify=True)
    with pytest.raises(ValueError, match=r"save_best='top7' is not among .* top1, top5"):
        runner.train()


@pytest.mark.parametrize('options', [dict(interval=0), dict(max_keep=0), dict(max_keep=-2)])
def test_numbers_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r'^default_hooks.checkpoint needs [^\n]*$'):
        CheckpointHook(**options)


@pytest.mark.parametrize(
    'options', [dict(interval=0.5), dict(by='hours'), dict(by='iter', by_epoch=True)]
)
def test_intervals_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r'^default_hooks.checkpoint[^\n]*$'):
        CheckpointHook(**options)


def test_by_minutes(make_runner, monkeypatch):
    """Four steps a minute, by a clock of our own: a checkpoint each minute, and at the end."""
    clock = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])

    class Clock(Hook):
        priority = 'NORMAL'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            clock[0] += 15.0

    changes = {'default_hooks.checkpoint': dict(interval=1, by='minutes', max_keep=-1)}
    runner = make_runner(changes=changes)
    runner.register_hook(Clock())
    runner.train()
    steps = [load_checkpoint(p)['meta']['step'] for p in Path(runner.work_dir).glob('iter_*.pth')]
    assert sorted(steps) == [4, 8, 12, 15]


def test_older_keys(make_runner):
    assert CheckpointHook().by == 'epoch'
    assert CheckpointHook(by_epoch=False).by == 'iter'
    assert CheckpointHook(by='epoch', by_epoch=True).by == 'epoch'


class At(Hook):
    """Does something after a step, once the hooks of that step are done."""

    priority = 'LOWEST'

    def __init__(self, step, do):
        self.step, self.do = step, do

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            self.do(runner)


def test_save_now(make_runner):
    def save(runner):
        hook_of(runner).save_now(runner, runner.iter + 1)
        found = newest_verified(Path(runner.work_dir))
        assert (found.step, found.path.name) == (7, 'iter_7.pth')
        written = found.path.stat().st_mtime_ns
        hook_of(runner).save_now(runner, runner.iter + 1)  # that step has one
        assert found.path.stat().st_mtime_ns == written
        raise KeyboardInterrupt

    runner = make_runner('cut')
    runner.register_hook(At(7, save))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    resumed = make_runner('cut', {'resume': True})
    resumed.train()
    whole = make_runner('whole')
    whole.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.fixture
def gate(monkeypatch):
    """Every save waits until it is set."""
    gate, write = threading.Event(), save.save_checkpoint

    def slow(checkpoint, path):
        assert gate.wait(20)
        return write(checkpoint, path)

    monkeypatch.setattr(save, 'save_checkpoint', slow)
    return gate


def test_what_is_saved_beside_the_training_is_the_state_of_its_step(make_runner, monkeypatch, gate):
    """The writer is held back until later steps have changed the weights."""
    live = {}
    changes = {'default_hooks.checkpoint': dict(interval=3, by='iter'), 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes)

    def remember(runner):
        live.update({k: v.clone() for k, v in runner.model.state_dict().items()})
        states = runner.optim_wrapper.optimizer.state_dict()['state']
        live['optimizer'] = [s['exp_avg'].clone() for s in states.values()]

    runner.register_hook(At(3, remember))
    runner.register_hook(At(5, lambda runner: gate.set()))
    monkeypatch.setattr(save.Pruner, 'prune', lambda *args: [])
    runner.train()
    found = load_checkpoint(Path(runner.work_dir) / 'iter_3.pth')
    for name, value in found['state_dict'].items():
        assert torch.equal(value, live[name]), name
    moments = [s['exp_avg'] for s in found['optimizer']['state'].values()]
    assert all(map(torch.equal, moments, live['optimizer']))


def test_the_best_waits_for_no_disk(make_runner, gate):
    """It is of the step that is being written just then, and the training goes on."""
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes, classify=True)
    runner.register_hook(Scores(50.0, 40.0))
    runner.register_hook(At(7, lambda runner: gate.set()))
    runner.train()
    work_dir = Path(runner.work_dir)
    epoch, best = (load_checkpoint(work_dir / name) for name in ('epoch_1.pth', 'best.pth'))
    assert (epoch['meta']['best'], best['meta']['best']) == (None, 50.0)
    assert best['meta']['step'] == 5
    for name, value in epoch['state_dict'].items():
        assert torch.equal(best['state_dict'][name], value)


def is_checkpoint(descriptor, *unused):
    return '.pth.' in os.readlink(f'/proc/self/fd/{descriptor}')


@pytest.fixture
def quick(monkeypatch):
    """No waiting for a better disk."""
    monkeypatch.setattr(CheckpointHook, 'back_off', (0.0, 0.0))


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc')
@pytest.mark.parametrize(
    ('call', 'code'), [('write', errno.ENOSPC), ('fsync', errno.EIO), ('write', errno.EDQUOT)]
)
def test_a_disk_that_fails_for_a_while(make_runner, quick, code, call):
    changes = {'default_hooks.checkpoint': dict(interval=5, by='iter')}
    runner = make_runner(changes=changes)
    fault = failing(call, code, after_bytes=3000, times=3, only=is_checkpoint)
    runner.register_hook(At(6, lambda runner: (hook_of(runner).wait(), fault.__enter__())))
    try:
        runner.train()
    finally:
        fault.__exit__(None, None, None)
    (log,) = Path(runner.work_dir).rglob('*.log')
    text = log.read_text()
    assert f'iter_10.pth could not be saved (attempt 1): [Errno {code}]' in text
    assert 'older checkpoints are untouched' in text
    assert periodic(runner.work_dir) == ['iter_15.pth', 'iter_5.pth']
    assert [found.step for found in verified(Path(runner.work_dir))] == [15, 5]
    assert not [*Path(runner.work_dir).glob('.*')]


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='needs /proc')
def test_a_disk_that_stays_full(make_runner, quick):
    changes = {'default_hooks.checkpoint': dict(interval=5, by='iter')}
    runner = make_runner(changes=changes)
    fault = failing(only=is_checkpoint, after_bytes=3000)
    runner.register_hook(At(6, lambda runner: (hook_of(runner).wait(), fault.__enter__())))
    try:
        with pytest.raises(OSError, match=r'^a checkpoint .* saved: .*No space left'):
            runner.train()
    finally:
        fault.__exit__(None, None, None)
    assert runner.iter == 15  # it has trained to the end
    assert [found.step for found in verified(Path(runner.work_dir))] == [5]
    assert not [*Path(runner.work_dir).glob('.*')]


def test_no_room_from_the_start(make_runner, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    with pytest.raises(CheckpointError, match=r'^[^\n]* 1000 bytes free, [^\n]*checkpoint'):
        make_runner().train()


def test_leftovers_are_tidied_up(make_runner):
    runner = make_runner(changes={'train_cfg.max_epochs': 2})
    work_dir = Path(runner.work_dir)
    (work_dir / '.epoch_1.pth.k3j4h5g6').write_bytes(b'half')  # of an older version
    (work_dir / f'.epoch_1.pth.{socket.gethostname()}-4194305.tmp').write_bytes(b'half')
    (work_dir / 'epoch_9.pth.json').write_text('{}')
    (work_dir / '.mine').write_text('kept')
    runner.train()
    assert {path.name for path in work_dir.glob('.*')} == {'.mine'}
    assert not (work_dir / 'epoch_9.pth.json').exists()


def test_a_new_run_in_an_old_work_dir(make_runner):
    make_runner('run', {'train_cfg.max_epochs': 3}).train()
    runner = make_runner('run', {'train_cfg.max_epochs': 2, 'randomness.seed': 1})
    runner.train()
    assert newest_verified(Path(runner.work_dir)).path.name == 'epoch_2.pth'
    assert len([*Path(runner.work_dir).glob('epoch_*.pth.superseded')]) >= 1


def test_the_best_of_another_run_in_the_work_dir(make_runner):
    """A new run does not take it for its own, nor is it resumed in the new one's place."""
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 3}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(50.0, 60.0, 90.0))
    runner.train()
    work_dir = Path(runner.work_dir)
    changes['default_hooks.checkpoint'] = dict(interval=2, by='iter', save_best='top1')
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(At(4, lambda runner: (_ for _ in ()).throw(KeyboardInterrupt)))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert (work_dir / 'best.pth.superseded').exists()
    assert newest_verified(work_dir).path.name == 'iter_4.pth'
    runner = make_runner('run', {**changes, 'resume': True}, classify=True)
    runner.register_hook(Scores(40.0, 30.0, 20.0))
    runner.train()
    best = load_checkpoint(work_dir / 'best.pth')['meta']
    assert (best['step'], best['best']) == (5, 40.0)


def test_the_best_comes_before_the_first_save(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 2}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(50.0, 90.0))
    runner.train()
    changes['default_hooks.checkpoint.interval'] = 2
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(40.0, 30.0))
    runner.train()
    assert load_checkpoint(Path(runner.work_dir) / 'best.pth')['meta']['step'] == 5


def test_going_back(make_runner):
    """`begin_continuation` tells that later checkpoints belong to what was given up."""
    changes = {'default_hooks.checkpoint': dict(interval=5, by='iter'), 'train_cfg.max_epochs': 3}
    runner = make_runner(changes=changes)
    runner.train()
    resumed = make_runner(
        changes={**changes, 'resume': True, 'load_from': f'{runner.work_dir}/iter_10.pth'}
    )
    resumed.register_hook(At(12, lambda runner: hook_of(runner).save_now(runner, 12)))
    resumed.register_hook(At(13, lambda runner: (_ for _ in ()).throw(KeyboardInterrupt)))
    with pytest.raises(KeyboardInterrupt):
        resumed.train()
    assert newest_verified(Path(runner.work_dir)).path.name == 'iter_12.pth'
    assert (Path(runner.work_dir) / 'iter_15.pth.superseded').exists()


def test_max_keep_of_one_keeps_two(make_runner):
    runner = make_runner(changes={'default_hooks.checkpoint.max_keep': 1})
    runner.train()
    assert periodic(runner.work_dir) == ['epoch_2.pth', 'epoch_3.pth']
    (log,) = Path(runner.work_dir).rglob('*.log')
    assert 'max_keep=1 has no effect: 2 stay' in log.read_text()


def test_the_best_may_be_newer_than_where_the_run_goes_on(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 2}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(50.0, 60.0))  # epoch_2.pth was saved before the second
    runner.train()
    runner = make_runner('run', {**changes, 'train_cfg.max_epochs': 3, 'resume': True}, True)
    runner.register_hook(Scores(58.0, 55.0))  # the end of the second epoch is done again
    runner.train()
    assert load_checkpoint(Path(runner.work_dir) / 'best.pth')['meta']['best'] == 60.0


MODEL = torch.nn.Linear(1000, 1000, bias=False)  # 4e6 bytes: 12e6 with an optimizer's averages


@pytest.mark.parametrize(
    ('free', 'outcome'), [(1e9, 'fits'), (36e6, 'fits'), (35e6, 'warning'), (11e6, 'refused')]
)
def test_free_space(tmp_path, monkeypatch, free, outcome):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    if outcome == 'refused':
        with pytest.raises(CheckpointError, match=r'10\.5 MiB free, .*checkpoint .* 11\.4 MiB'):
            check_space(tmp_path, MODEL, 2)
        return
    warning = check_space(tmp_path, MODEL, 2)
    assert (warning is None) == (outcome == 'fits')
    if warning:
        assert '3 checkpoints take about 34.3 MiB' in warning


def test_what_will_be_replaced_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=13e6))
    assert check_space(tmp_path, MODEL, 2)
    for epoch in (1, 2):
        (tmp_path / f'epoch_{epoch}.pth').write_bytes(bytes(12_000_000))
    assert check_space(tmp_path, MODEL, 2) is None


# --- folders that all processes write ---------------------------------------------------------

_BY_ALL = {'default_hooks.checkpoint': dict(interval=6, by='iter', sharded=True)}


@pytest.mark.filterwarnings('ignore:torch.distributed is disabled')
def test_a_run_goes_on_from_a_folder_and_from_a_file(make_runner, tmp_path):
    def finish(folder, **changes):
        runner = make_runner(folder, changes=changes)
        runner.train()
        return weights_sha256(runner.bare_model.state_dict()), Path(runner.work_dir)

    expected, _ = finish('file')
    found, run = finish('folder', **_BY_ALL)
    assert found == expected
    assert sorted(path.name for path in run.glob('iter_*')) == [
        f'iter_{step}.dcp{ending}' for step in (12, 15) for ending in ('', '.json')
    ]
    assert read_manifest(run / 'iter_15.dcp').weights_sha256 == expected
    assert (run / 'last_checkpoint').read_text() == str(run / 'iter_15.dcp')
    final = load_checkpoint(run / 'final.pth')
    assert weights_sha256(final['state_dict']) == expected
    assert 'optimizer' not in final
    shutil.rmtree(run / 'iter_15.dcp')
    newest = str(run / 'iter_12.dcp')
    found, other = finish('other', resume=True, load_from=newest)
    assert found == expected
    assert (other / 'epoch_3.pth').is_file()
    convert(newest, tmp_path / 'one.pth', None)
    found, _ = finish('back', **_BY_ALL, resume=True, load_from=str(tmp_path / 'one.pth'))
    assert found == expected
    found, _ = finish('folder', **_BY_ALL, resume=True)
    assert found == expected
    runner = make_runner('start', changes={'load_from': newest})
    runner.load_or_resume()
    found = weights_sha256(runner.bare_model.state_dict())
    assert found == read_manifest(run / 'iter_12.dcp').weights_sha256
    finish('folder', resume=True, **{'train_cfg.max_epochs': 4})  # to a later end, in files
    assert not (run / 'final.pth').exists()
    assert read_manifest(run / 'final.pth.superseded').content.step == 15


def test_a_folder_needs_a_work_dir_that_all_see(make_runner, monkeypatch):
    monkeypatch.setattr(start, 'not_shared', lambda folder: f'{folder} is not shared')
    runner = make_runner(changes=_BY_ALL)
    with pytest.raises(CheckpointError, match=r'run is not shared, or default_hooks\.checkpoint\.'):
        start._look_whether_shared(runner, Path(runner.work_dir))
