"""Runs that predict no pixels: they train, resume, shrink and compile as others do."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from mmengine.hooks import Hook

from mae.utils.errors import CheckpointError, ConfigError
from tests.engine.test_features_only import evaluation
from tests.forked import forked

TEACHER = dict(img_size=8, patch_size=2, in_chans=1, embed_dim=12, depth=1, num_heads=2)


class Losses(Hook):
    def __init__(self):
        self.values = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.values.append(outputs['loss'].item())


def write_teacher(path, seed=0):
    torch.manual_seed(seed)
    torch.save(
        timm.create_model('vit_tiny_patch16_224', num_classes=0, **TEACHER).state_dict(), path
    )


@pytest.fixture(params=['HOGTarget', 'LowFrequencyTarget', 'FeatureTarget'])
def target(request, tmp_path):
    if request.param == 'HOGTarget':
        return {'model.target': dict(type='HOGTarget', cell_size=2)}
    if request.param == 'LowFrequencyTarget':
        return {'model.target': dict(type='LowFrequencyTarget')}
    return feature_target(tmp_path)


def feature_target(tmp_path, **options):
    write_teacher(tmp_path / 'teacher.pth')
    return {
        'model.target': dict(
            type='FeatureTarget',
            teacher='vit_tiny_patch16_224',
            checkpoint=str(tmp_path / 'teacher.pth'),
            options={**TEACHER, **options},
            mean=[78.0],
            std=[96.0],
        )
    }


def replaced(changes):
    return {**changes, 'model.target': {**changes['model.target'], '_delete_': True}}


def run(make_runner, name, changes):
    runner, losses = make_runner(name, replaced(changes)), Losses()
    runner.register_hook(losses)
    runner.train()
    return runner, losses.values


def test_learns(make_runner, target):
    _, losses = run(make_runner, 'run', {**target, 'train_cfg.max_epochs': 6})
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])


def test_resumes_as_if_uninterrupted(make_runner, target):
    changes = {**target, 'train_cfg.max_epochs': 2}
    changes |= {'default_hooks.checkpoint': dict(interval=3, by_epoch=False, max_keep=-1)}
    whole, expected = run(make_runner, 'whole', changes)
    saved = torch.load(Path(whole.work_dir) / 'iter_3.pth', weights_only=True)
    assert not [name for name in saved['state_dict'] if name.startswith('target')]
    work_dir = Path(whole.work_dir).with_name('resumed')
    work_dir.mkdir()
    shutil.copy(Path(whole.work_dir) / 'iter_3.pth', work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_3.pth'))
    resumed, found = run(make_runner, 'resumed', {**changes, 'resume': True})
    assert found == expected[3:]
    weights = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_another_teacher_is_another_run(make_runner, tmp_path):
    changes = {**feature_target(tmp_path), 'train_cfg.max_epochs': 2}
    run(make_runner, 'run', changes)
    write_teacher(tmp_path / 'teacher.pth', seed=1)
    longer = {**changes, 'train_cfg.max_epochs': 3, 'resume': True}
    message = r'teacher was \w{64} and is \w{64} now'
    with pytest.raises(CheckpointError, match=message):
        run(make_runner, 'run', longer)
    runner, losses = run(make_runner, 'run', {**longer, 'resume_anyway': ['teacher']})
    assert len(losses) == 5
    logs = ''.join(path.read_text() for path in Path(runner.work_dir).rglob('*.log'))
    assert 'resumed all the same' in logs


def test_a_teacher_that_is_not_there_ends_the_run_in_a_line(make_runner, tmp_path):
    changes = feature_target(tmp_path)
    (tmp_path / 'teacher.pth').unlink()
    with pytest.raises(
        ValueError, match=r'^target.checkpoint: there is no file [^\n]*teacher.pth$'
    ):
        run(make_runner, 'run', changes)


def test_low_resolution(make_runner, target):
    hook = dict(type='LowResolutionHook', epochs=1, img_size=4)
    if target['model.target']['type'] == 'FeatureTarget':
        fixed = {**target, 'custom_hooks': [hook], 'train_cfg.max_epochs': 2}
        with pytest.raises(
            ConfigError, match=r'^LowResolutionHook.img_size=4: the teacher [^\n]*$'
        ):
            run(make_runner, 'fixed', fixed)
        target['model.target']['options']['dynamic_img_size'] = True
    _, losses = run(
        make_runner, 'small', {**target, 'custom_hooks': [hook], 'train_cfg.max_epochs': 2}
    )
    _, plain = run(make_runner, 'plain', {**target, 'train_cfg.max_epochs': 2})
    assert len(losses) == 10
    assert losses[0] != plain[0]


@forked
def test_compiled_and_recomputed_the_losses_are_the_same(make_runner, target):
    torch._dynamo.reset()
    _, plain = run(make_runner, 'plain', {**target, 'train_cfg.max_epochs': 2})
    changes = {'compile': dict(backend='aot_eager'), 'model.encoder.recompute': 'blocks'}
    _, compiled = run(make_runner, 'compiled', {**target, **changes, 'train_cfg.max_epochs': 2})
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_under_autocast_targets_keep_their_precision(make_runner, target):
    _, plain = run(make_runner, 'plain', {**target, 'train_cfg.max_epochs': 2})
    half = {**target, 'train_cfg.max_epochs': 2, 'optim_wrapper.amp': 'bfloat16'}
    _, losses = run(make_runner, 'half', half)
    assert losses == pytest.approx(plain, rel=0.02)


def test_its_loss_is_a_metric_and_its_features_are_judged(make_runner, target, tmp_path):
    runner, _ = run(make_runner, 'run', {**target, 'train_cfg.max_epochs': 2})
    path = str(Path(runner.work_dir) / 'epoch_2.pth')
    changes = evaluation(dict(type='TestLoop'), dict(type='ReconstructionLoss'))
    judged = make_runner('test', replaced({**target, **changes, 'load_from': path})).test()
    assert judged['reconstruction_error'] > 0
    # By a config that says nothing of the target: features need no decoder.
    changes = evaluation(dict(type='KNNLoop', k=1), dict(type='Accuracy', topk=(1,)))
    (tmp_path / 'teacher.pth').unlink(missing_ok=True)
    assert make_runner('knn', {**changes, 'load_from': path}).test()['top1'] == 100
