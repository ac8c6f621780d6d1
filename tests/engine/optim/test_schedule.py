import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.engine.optim import WarmupCosineLR


class Rates(Hook):
    """Notes the learning rates that each step is taken with."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.seen.append([(group['lr'], group['lr_scale']) for group in groups])


def recipe(lr, min_lr, epoch, warmup, epochs):
    """The rule as recipes give it, of the fractional epoch."""
    if epoch < warmup:
        return lr * epoch / warmup
    return min_lr + (lr - min_lr) * 0.5 * (
        1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))
    )


@pytest.mark.parametrize(('classify', 'min_lr'), [(False, 0.0), (True, 1e-6)])
def test_every_iteration_of_a_run(make_runner, classify, min_lr):
    changes = {
        'train_cfg.max_epochs': 4,
        'param_scheduler.min_lr': min_lr,
        'default_hooks.checkpoint.interval': 9,
        'default_hooks.logger.interval': 100,
        'base_lr': 0.008,
    }
    runner = make_runner(changes=changes, classify=classify)
    rates = Rates()
    runner.register_hook(rates)
    runner.train()
    assert len(rates.seen) == 20  # 4 epochs of 160 / 32 steps
    for step, groups in enumerate(rates.seen):
        expected = recipe(0.008 * 32 / 256, min_lr, step / 5, 1, 4)
        for lr, scale in groups:
            # The scale of layer decay multiplies the whole of it, the floor too.
            assert lr == pytest.approx(expected * scale, rel=1e-9, abs=1e-18), step
    scales = {scale for _, scale in rates.seen[0]}
    assert scales == ({0.65**n for n in range(4)} if classify else {1.0})


@pytest.mark.parametrize('warmup_epochs', [4, 40])
def test_a_run_made_shorter_than_its_warm_up_has_a_tenth(make_runner, warmup_epochs):
    changes = {'param_scheduler.warmup_epochs': warmup_epochs, 'train_cfg.max_epochs': 4}
    runner = make_runner(changes=changes)
    runner.train()
    (schedule,) = runner.param_schedulers
    assert (schedule.warmup, schedule.end) == (2, 20)
    (log,) = Path(runner.work_dir).glob('*/*.log')
    told = rf'param_scheduler\.warmup_epochs={warmup_epochs} .* train_cfg\.max_epochs=4: 0\.4 '
    assert re.search(told, log.read_text())


def test_a_negative_warm_up(make_runner):
    runner = make_runner(changes={'param_scheduler.warmup_epochs': -1})
    with pytest.raises(ValueError, match=r'^param_scheduler\.warmup_epochs must not be negative'):
        runner.train()


def test_steps_of_warm_up_that_do_not_fit():
    with pytest.raises(ValueError, match=r'^param_scheduler: 15 steps of warm-up '):
        WarmupCosineLR(None, warmup=15, end=15)


def test_fractions_of_an_epoch(make_runner):
    runner = make_runner(changes={'param_scheduler.warmup_epochs': 0.4})
    runner.train()
    (schedule,) = runner.param_schedulers
    assert isinstance(schedule, WarmupCosineLR)
    assert (schedule.warmup, schedule.end) == (2, 15)


def test_warm_up_is_counted_in_whole_steps():
    """45 x .7 = 31.5, half to even; in floats 31.499999999999996."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = WarmupCosineLR.build_iter_from_epoch(
        optimizer, epoch_length=45, end=2, warmup_epochs=0.7
    )
    assert schedule.warmup == 32


def test_a_run_made_longer_follows_its_own_curve(make_runner):
    """From where the shorter one ended, at the rates of one that was longer from the start."""
    changes = {'train_cfg.max_epochs': 2}
    make_runner('run', changes).train()
    rates = {}
    for folder in ('run', 'whole'):
        changes = {'train_cfg.max_epochs': 4, 'resume': folder == 'run'}
        runner = make_runner(folder, changes)
        runner.register_hook(hook := Rates())
        runner.train()
        rates[folder] = hook.seen
    assert rates['run'] == rates['whole'][10:]
    logs = sorted(Path(runner.work_dir).parent.glob('run/*/*.log'))
    assert 'param_scheduler: end was 10 and is 20 now' in logs[-1].read_text()
