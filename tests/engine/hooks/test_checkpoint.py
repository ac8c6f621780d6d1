import os
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.engine.checkpoint import load_checkpoint
from mae.engine.hooks import CheckpointHook


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


def test_best_survives_an_interruption(make_runner):
    changes = {'default_hooks.checkpoint.save_best': 'top1', 'train_cfg.max_epochs': 2}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(50.0, 40.0))
    runner.train()
    changes |= {'train_cfg.max_epochs': 3, 'resume': True}
    runner = make_runner('run', changes, classify=True)
    runner.register_hook(Scores(45.0))
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
