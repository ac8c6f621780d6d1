import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mae.engine.optim import WarmupCosineLR, WarmupPolyLR, WarmupStepLR
from mae.utils.errors import ConfigError


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


class Group:
    """What a schedule needs of an optimizer."""

    def __init__(self):
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)


def curve(kind, steps, **options):
    optimizer = Group().optimizer
    schedule = kind(optimizer, end=steps, **options)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]['lr'])
        schedule.step()
    return values


def test_a_straight_line_to_zero_behind_a_warm_up_from_a_share():
    found = curve(WarmupPolyLR, 10, warmup=4, start_factor=0.5)
    falling = [2 * (10 - t) / 6 for t in range(4, 10)]
    assert found == pytest.approx([1, 1.25, 1.5, 1.75, *falling])
    squared = curve(WarmupPolyLR, 4, power=2.0, min_lr=1.0)
    assert squared == pytest.approx([1 + ((4 - t) / 4) ** 2 for t in range(4)])


def test_steps_down_at_shares_of_the_run():
    found = curve(WarmupStepLR, 10, milestones=(0.5, 0.8), warmup=2)
    assert found == pytest.approx([0, 1, 2, 2, 2, 0.2, 0.2, 0.2, 0.02, 0.02])


LATER = [
    (WarmupCosineLR, dict(warmup=2)),
    (WarmupPolyLR, dict(warmup=2, power=0.9)),
    (WarmupStepLR, dict(warmup=2, milestones=(0.5, 0.8))),
]


def resumed_rates(first, schedule, second, resumed, at):
    """Rates of steps `at` to 12 of a second optimizer, which goes on from the first after `at`."""
    for _ in range(at):
        schedule.step()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    rates = []
    for _ in range(at, 13):
        rates.append(second.param_groups[0]['lr'])
        resumed.step()
    return rates


@pytest.mark.parametrize(('kind', 'options'), LATER)
def test_a_schedule_may_begin_later(kind, options):
    """With what the rest of the run would have from its start; until then the rate stays."""
    expected = [2.0] * 3 + curve(kind, 10, **options)
    assert curve(kind, 13, begin=3, **options) == expected
    for at in range(13):
        first, second = Group().optimizer, Group().optimizer
        schedule, resumed = (kind(o, begin=3, end=13, **options) for o in (first, second))
        assert resumed_rates(first, schedule, second, resumed, at) == expected[at:]


@pytest.mark.parametrize('at', [2, 5, 8])
def test_a_schedule_that_is_to_begin_later_than_before_has_the_rates_of_a_new_run(at):
    """Resumed at a step before the new `begin`, or behind it."""
    first, second = Group().optimizer, Group().optimizer
    schedule, resumed = WarmupCosineLR(first, end=13), WarmupCosineLR(second, begin=6, end=13)
    rates = resumed_rates(first, schedule, second, resumed, at)
    assert rates == curve(WarmupCosineLR, 13, begin=6)[at:]


def test_an_epoch_in_which_a_schedule_begins_is_counted_in_steps():
    optimizer = Group().optimizer
    schedule = WarmupCosineLR.build_iter_from_epoch(
        optimizer, epoch_length=5, begin=2, end=4, warmup_epochs=3
    )
    assert (schedule.begin, schedule.end, schedule.warmup) == (10, 20, 1)  # a tenth of 10 steps


@pytest.mark.parametrize('begin', [-1, 4, math.nan, math.inf])
def test_a_schedule_begins_within_the_run(begin):
    optimizer = Group().optimizer
    with pytest.raises(ValueError, match=r'begin must lie from 0 to below train_cfg\.max_epochs=4'):
        WarmupCosineLR.build_iter_from_epoch(optimizer, epoch_length=5, begin=begin, end=4)
    with pytest.raises(ValueError, match=r'begin must lie from 0 to below the last step, 4, got'):
        WarmupCosineLR(optimizer, begin=begin, end=4)


@pytest.mark.parametrize('milestones', [(), (0.8, 0.5), (0.5, 1.0)])
def test_strange_milestones_are_named(milestones):
    with pytest.raises(ValueError, match='milestones'):
        curve(WarmupStepLR, 10, milestones=milestones)


def test_a_power_that_does_not_fall_is_named():
    for power in (0.0, -1.0):
        with pytest.raises(ValueError, match=r'param_scheduler\.power must be positive'):
            curve(WarmupPolyLR, 4, power=power)


@pytest.mark.parametrize(
    'changes', [{'max_epochs': 0}, {'max_epochs': None, 'max_steps': 0}, {'val_interval': 0}]
)
def test_a_length_below_one_is_named(make_runner, changes):
    *_, key = changes
    train_cfg = {'type': 'TrainLoop', 'max_epochs': 2, **changes}
    with pytest.raises(ConfigError, match=rf'train_cfg\.{key} must be at least 1, not 0'):
        make_runner(changes={'train_cfg': train_cfg}).train()


def test_a_run_in_steps_ends_within_an_epoch(make_runner):
    """7 steps of epochs of 5: the curve ends there, and validation comes every 3 and at the end."""
    changes = {
        'train_cfg': {'type': 'TrainLoop', 'max_epochs': None, 'max_steps': 7, 'val_interval': 3},
        'param_scheduler': {'_delete_': True, 'type': 'WarmupPolyLR', 'warmup': 2},
        'default_hooks.checkpoint': {
            '_delete_': True,
            'type': 'CheckpointHook',
            'by': 'iter',
            'interval': 4,
        },
    }
    runner = make_runner(changes=changes, classify=True)
    seen, validated = Rates(), []
    runner.register_hook(seen)

    class Note(Hook):
        def before_val(self, runner):
            validated.append(runner.iter)

    runner.register_hook(Note())
    runner.train()
    assert len(seen.seen) == 7
    top = max(group[0] for group in seen.seen[2])
    assert [max(lr for lr, _ in step) / top for step in seen.seen] == pytest.approx(
        [0, 0.5, 1, 0.8, 0.6, 0.4, 0.2]
    )
    assert validated == [3, 6, 7]
    names = sorted(path.name for path in Path(runner.work_dir).glob('iter_*.pth'))
    assert names == ['iter_4.pth', 'iter_7.pth']


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        ({'train_cfg.max_steps': 7}, 'max_epochs or max_steps'),
        (
            {
                'train_cfg': {'type': 'TrainLoop', 'max_epochs': None, 'max_steps': 7},
                'param_scheduler': {'_delete_': True, 'type': 'WarmupPolyLR', 'warmup_epochs': 2},
            },
            'max_steps needs warmup',
        ),
        (
            {'param_scheduler': {'_delete_': True, 'type': 'WarmupPolyLR', 'warmup': 2}},
            'needs warmup_epochs',
        ),
    ],
)
def test_lengths_are_in_one_unit(make_runner, changes, named):
    with pytest.raises(ConfigError, match=named):
        make_runner(changes=changes).train()
