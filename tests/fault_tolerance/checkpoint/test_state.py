"""What a checkpoint tells of its run, and what of it a resumed run takes over or refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mae.fault_tolerance.checkpoint.state import NAMES, check_same, fingerprint
from mae.utils.errors import CheckpointError, ConfigError
from tests.engine.conftest import PREPROCESSOR

COLOUR = {
    'model.preprocessor': dict(PREPROCESSOR, mean=[78.0] * 3, std=[96.0] * 3),
    'model.encoder.in_channels': 3,
    'train_dataloader.dataset.pipeline': [
        dict(type='DecodeImage', channels=3),
        dict(type='RandomFlip'),
        dict(type='PackInputs'),
    ],
    'train_cfg.max_epochs': 2,
    'default_hooks.checkpoint': dict(interval=4, by_epoch=False, max_keep=-1),
}


@pytest.mark.parametrize('fused', [True, False])
def test_colour_images_resume_to_the_same_bits(make_runner, fused):
    changes = {**COLOUR, 'optim_wrapper.optimizer.fused': fused}
    whole = make_runner('whole', changes)
    whole.train()
    path = Path(whole.work_dir).with_name('iter_4.pth')
    shutil.copy(Path(whole.work_dir) / path.name, path)
    resumed = make_runner('resumed', {**changes, 'resume': True, 'load_from': str(path)})
    resumed.train()
    assert resumed.iter == whole.iter == 10
    weights = whole.model.state_dict()
    assert not weights['encoder.patch_embed.proj.weight'].is_contiguous()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


THEN = {'seed': 0, 'global_batch_size': 32, 'num_samples': 160, 'dataset': 'aa'}


class Source:
    def __init__(self, root='/data', count=10, label=0, names='{}'):
        self.root, self.count, self.label, self.names = root, count, label, names

    def __len__(self):
        return self.count

    def get_data_info(self, index):
        name = self.names.format(index)
        return {'img_path': f'{self.root}/train/class/{name}.jpg', 'gt_label': self.label}


def test_fingerprint_follows_the_samples_not_the_place():
    plain = fingerprint(Source())
    assert fingerprint(Source()) == plain
    assert fingerprint(Source(root='/scratch/copy')) == plain
    others = [Source(count=11), Source(label=1), Source(names='x{}'), Source(count=9000)]
    assert len({plain, *map(fingerprint, others)}) == 5
    assert fingerprint([1, 2]) is None


def test_fingerprint_of_images_in_memory():
    class Memory(Source):
        def get_data_info(self, index):
            return {'img': np.full((2, 2), self.label), 'gt_label': 0}

    assert fingerprint(Memory(label=1)) != fingerprint(Memory(label=2))


def test_all_that_is_compared_may_be_named(make_runner):
    assert tuple(make_runner().identity) == NAMES


def test_the_same():
    assert check_same(THEN, THEN, 'x.pth') == []
    assert check_same({'seed': 0}, THEN, 'x.pth') == []  # written before there were fingerprints


def test_all_differences_are_shown():
    now = {**THEN, 'seed': 3, 'dataset': 'bb'}
    with pytest.raises(CheckpointError) as caught:
        check_same(THEN, now, 'x.pth')
    message = str(caught.value)
    assert 'seed was 0 and is 3 now; dataset was aa ' in message
    assert message.endswith('resume_anyway seed dataset')
    with pytest.raises(CheckpointError, match='dataset was aa'):
        check_same(THEN, now, 'x.pth', ['seed'])
    assert len(check_same(THEN, now, 'x.pth', ['seed', 'dataset'])) == 2


def test_length_of_an_epoch_is_told_where_nothing_else_tells_it():
    then, now = {**THEN, 'steps_per_epoch': 6}, {**THEN, 'steps_per_epoch': 5}
    with pytest.raises(CheckpointError, match='steps_per_epoch was 6 and is 5 now'):
        check_same(then, now, 'x.pth')
    told = check_same(then, {**now, 'num_samples': 150}, 'x.pth', ['num_samples'])
    assert told == ['num_samples was 160 and is 150 now']


def test_another_teacher_is_told_as_such():
    then, now = {**THEN, 'teacher': 'aa'}, {**THEN, 'teacher': 'bb'}
    with pytest.raises(CheckpointError, match=r'was aa and is bb now'):
        check_same(then, now, 'x.pth')
    told = ['teacher was aa and is bb now']
    assert check_same(then, now, 'x.pth', ['teacher']) == told
    assert check_same(then, THEN, 'x.pth') == []  # a run without one


def test_unknown_name():
    with pytest.raises(ConfigError, match=r'resume_anyway takes seed, .*, not sed$'):
        check_same(THEN, THEN, 'x.pth', ['sed'])


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
            'of another type, .* dampening, momentum',
        ),
        (
            {'optim_wrapper.optimizer.weight_decay': 0.0},
            '2 groups of parameters .* 1; weight_decay',
        ),
    ],
    ids=['type', 'groups'],
)
def test_another_optimizer_is_refused_in_one_line(resume, changes, message):
    with pytest.raises(CheckpointError, match=rf'^[^\n]*epoch_2.pth cannot[^\n]*{message}[^\n]*$'):
        resume({}, changes)
