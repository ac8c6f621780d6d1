"""What a config says of the optimizer when a run goes on with that of its checkpoint."""

from pathlib import Path

import pytest

from mae.utils.errors import CheckpointError

SHORT = {'train_cfg.max_epochs': 2}
LONGER = {'train_cfg.max_epochs': 3, 'resume': True}
SGD = dict(type='SGD', momentum=0.9, weight_decay=0.05)
HAS_NO_EFFECT = 'optim_wrapper.optimizer.{}={} has no effect: {} of {} stays'


@pytest.fixture
def resume(make_runner):
    """resume(begun, goes_on, classify): runner of a resumed run, and its lines of no effect."""

    def run(begun, goes_on, classify=False):
        first = make_runner('begun', {**SHORT, **begun}, classify)
        first.train()
        checkpoint = Path(first.work_dir) / 'epoch_2.pth'
        changes = {**begun, **LONGER, 'load_from': str(checkpoint), **goes_on}
        runner = make_runner('goes_on', changes, classify)
        runner.train()
        (log,) = Path(runner.work_dir).rglob('*.log')
        lines = [line for line in log.read_text().splitlines() if 'has no effect' in line]
        return runner, lines, checkpoint

    return run


def options(runner, name):
    return [group[name] for group in runner.optim_wrapper.optimizer.param_groups]


@pytest.mark.parametrize('classify', [False, True], ids=['mae', 'layer-decay'])
def test_one_line_names_what_stays(resume, classify):
    changes = dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.1, eps=1e-6)
    runner, lines, path = resume({}, {'optim_wrapper.optimizer': changes}, classify)
    (line,) = lines
    assert 'WARNING' in line
    for told in (
        ('betas', (0.9, 0.999), (0.9, 0.95), path),
        ('weight_decay', 0.1, 0.05, path),
        ('eps', 1e-6, 1e-8, path),
    ):
        assert line.count(HAS_NO_EFFECT.format(*told)) == 1
    assert line.count('has no effect') == 3
    assert set(options(runner, 'weight_decay')) == {0.0, 0.05}  # vectors are not decayed
    assert set(options(runner, 'betas')) == {(0.9, 0.95)}


def test_an_optimizer_that_is_not_pytorchs(resume):
    """Loading gives the defaults of LARS an option that its groups have not."""
    lars = dict(_delete_=True, type='LARS', weight_decay=0.0, momentum=0.9)
    runner, lines, _ = resume({'optim_wrapper.optimizer': lars}, {})
    assert type(runner.optim_wrapper.optimizer).__name__ == 'LARS'
    assert lines == []


@pytest.mark.parametrize(
    'changes',
    [{}, {'base_lr': 1e-2}, {'optim_wrapper.optimizer.betas': [0.9, 0.95]}],
    ids=['same', 'rate', 'list'],
)
def test_not_a_word_of_what_is_the_same_or_scheduled(resume, changes):
    _, lines, _ = resume({}, changes)
    assert lines == []


def test_weight_decay_that_a_schedule_moves(resume):
    moves = dict(type='LinearParamScheduler', param_name='weight_decay', start_factor=0.1, end=3)
    both = {'param_scheduler': [dict(type='WarmupCosineLR', warmup_epochs=1), moves]}
    changes = {'optim_wrapper.optimizer.weight_decay': 0.1, 'optim_wrapper.optimizer.eps': 1e-6}
    _, (line,), path = resume(both, changes)
    assert line.endswith(HAS_NO_EFFECT.format('eps', 1e-6, 1e-8, path))
    assert 'optimizer.weight_decay' not in line


def test_a_rate_without_a_schedule(resume):
    runner, (line,), path = resume({'param_scheduler': None}, {'base_lr': 8e-2})
    assert line.endswith(HAS_NO_EFFECT.format('lr', 0.01, 0.005, path))
    assert set(options(runner, 'lr')) == {0.005}


def test_how_a_step_is_computed_and_layer_decay_are_for_the_config_to_say(resume):
    fused, decay = 'optim_wrapper.optimizer.fused', 'optim_wrapper.paramwise_cfg.layer_decay'
    runner, lines, _ = resume({fused: False}, {fused: True, decay: 0.5}, classify=True)
    assert set(options(runner, 'fused')) == {True}
    assert set(options(runner, 'lr_scale')) == {0.5**depth for depth in range(4)}
    assert lines == []


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'optim_wrapper.optimizer': dict(SGD, _delete_=True)},
            'its optimizer is of another type, without dampening, momentum',
        ),
        (
            {'optim_wrapper.optimizer.weight_decay': 0.0},
            "its optimizer has 2 groups of parameters and the config's 1; weight_decay",
        ),
    ],
    ids=['type', 'groups'],
)
def test_another_optimizer_is_refused_in_one_line(resume, changes, message):
    with pytest.raises(CheckpointError, match=rf'^[^\n]*epoch_2.pth cannot[^\n]*{message}[^\n]*$'):
        resume({}, changes)
