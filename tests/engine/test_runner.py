import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mae.engine import Runner
from mae.fault_tolerance.checkpoint import load_checkpoint
from mae.utils.digest import weights_sha256
from mae.utils.errors import CheckpointError, ConfigError


def log_of(runner):
    (path,) = Path(runner.work_dir).rglob('*.log')
    return path.read_text()


def losses_of(runner):
    (path,) = Path(runner.work_dir).rglob('vis_data/scalars.json')
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row['step']: row['loss'] for row in rows if 'loss' in row}


class Losses(Hook):
    """The loss of each step; mmengine's log shows means over a window."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(outputs['loss']))


def trained(runner):
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.seen


@pytest.mark.parametrize(
    ('classify', 'batch_size', 'stop'),
    [(False, 32, 7), (False, 16, 10), (True, 16, 7), (True, 32, 10)],
    ids=['mae', 'mae-epoch-end', 'classifier', 'classifier-epoch-end'],
)
def test_resumed_run_is_the_uninterrupted_one(make_runner, classify, batch_size, stop):
    changes = {
        'default_hooks.checkpoint': dict(interval=stop, by_epoch=False, max_keep=-1),
        'train_dataloader.batch_size': batch_size,
        'train_cfg.max_epochs': 3,
    }
    whole = make_runner('whole', changes, classify)
    expected = trained(whole)
    assert len(expected) == 15
    start = Path(whole.work_dir) / f'iter_{stop}.pth'

    work_dir = Path(whole.work_dir).with_name('resumed')
    work_dir.mkdir()
    shutil.copy(start, work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / start.name))
    resumed = make_runner('resumed', {**changes, 'resume': True}, classify)
    assert trained(resumed) == expected[stop:]
    weights = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    ours, theirs = (r.optim_wrapper.optimizer.state_dict()['state'] for r in (resumed, whole))
    for number, state in theirs.items():
        for name, value in state.items():
            assert torch.equal(ours[number][name], value), name


def test_nothing_to_resume_starts_anew(make_runner):
    runner = make_runner(changes={'resume': True, 'train_cfg.max_epochs': 2})
    runner.train()
    assert 'nothing to resume in' in log_of(runner)
    assert runner.iter == 10


def test_weights_alone_cannot_be_resumed(make_runner, tmp_path):
    runner = make_runner('a', {'train_cfg.max_epochs': 2})
    runner.train()
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': runner.model.state_dict()}, path)
    other = make_runner('b', {'resume': True, 'load_from': str(path)})
    with pytest.raises(CheckpointError, match=r'^[^\n]*holds weights only; start from it [^\n]*$'):
        other.train()


@pytest.mark.parametrize(
    ('name', 'changes', 'was', 'now'),
    [
        ('seed', {'randomness.seed': 1}, 0, 1),
        ('global_batch_size', {'global_batch_size': 64}, 32, 64),
        ('num_samples', {'train_dataloader.dataset.source.per_class': 20}, 160, 200),
    ],
)
def test_resuming_with_other_samples_is_refused(make_runner, name, changes, was, now):
    make_runner(changes={'train_cfg.max_epochs': 2}).train()
    runner = make_runner(changes={'resume': True, **changes})
    message = rf'^[^\n]*epoch_2.pth cannot be resumed: {name} was {was} and is {now} now[^\n]*$'
    with pytest.raises(CheckpointError, match=message):
        runner.train()


def test_a_last_batch_too_small_for_the_processes_is_not_lost_on_resuming(make_runner):
    """Of 160 samples, 53 at a time, one is left: a step of one process, none of two."""
    changes = {
        'global_batch_size': 53 * 3,
        'train_dataloader.batch_size': 53,
        'train_dataloader.sampler.drop_last': False,
    }
    make_runner(changes={**changes, 'train_cfg.max_epochs': 2}).train()
    changes |= {'resume': True, 'train_dataloader.sampler.drop_last': True}  # as with two
    with pytest.raises(CheckpointError, match='steps_per_epoch was 2 and is 1 now'):
        make_runner(changes=changes).train()


def change(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    path.with_name(f'{path.name}.json').unlink()


@pytest.mark.parametrize(
    ('change_it', 'message'),
    [
        (lambda c: c['meta'].update(step=16), 'step 16, .* 15; raise train_'),
        (lambda c: c['meta'].update(step=-1), 'it is at step -1'),
        (lambda c: c['meta'].update(step='ten'), 'it is at step ten'),
        (lambda c: c['meta'].update(bad_steps={'total': 1}), r'of another run \(KeyError'),
        (lambda c: c['meta']['bad_steps'].update(more=1), r'of another run \(TypeError'),
        (lambda c: c['meta']['bad_steps'].update(left_out=[['a', 1]]), r'run \(ValueError'),
        (lambda c: c['meta'].update(best='high'), r'of another run \(ValueError'),
        (lambda c: c['param_schedulers'].clear(), r'of another run \(ValueError'),
        (lambda c: c['param_schedulers'][0].clear(), r'of another run \(KeyError'),
        (lambda c: c['optimizer'].clear(), r'of another run \(KeyError'),
        (lambda c: c.update(optimizer=[1]), r'of another run \('),
    ],
)
def test_a_state_that_makes_no_sense_is_refused_in_one_line(make_runner, change_it, message):
    runner = make_runner(changes={'train_cfg.max_epochs': 2})
    runner.train()
    path = Path(runner.work_dir) / 'epoch_2.pth'
    change(path, change_it)
    resumed = make_runner(changes={'resume': True, 'load_from': str(path)})
    with pytest.raises(
        CheckpointError, match=rf'^[^\n]* cannot be resumed: [^\n]*{message}[^\n]*$'
    ):
        resumed.train()


def test_other_data_of_the_same_length_are_refused_unless_named(make_runner):
    make_runner(changes={'train_cfg.max_epochs': 2}).train()
    other = {'resume': True, 'train_dataloader.dataset.source.seed': 7, 'randomness.seed': 3}
    with pytest.raises(CheckpointError, match=r'seed was 0 and is 3 now; dataset was \w+'):
        make_runner(changes=other).train()
    with pytest.raises(CheckpointError, match=r'epoch_2.pth cannot be resumed: dataset was'):
        make_runner(changes={**other, 'resume_anyway': ['seed']}).train()
    runner = make_runner(changes={**other, 'resume_anyway': ['seed', 'dataset']})
    assert len(trained(runner)) == 5
    logs = ''.join(path.read_text() for path in Path(runner.work_dir).rglob('*.log'))
    assert logs.count('resumed all the same') == 2


def test_a_damaged_checkpoint_is_passed_over(make_runner, tmp_path):
    expected = trained(make_runner('whole', {'train_cfg.max_epochs': 3}))
    work_dir = tmp_path / 'cut'
    shutil.copytree(tmp_path / 'whole', work_dir, ignore=shutil.ignore_patterns('2*'))
    os.truncate(work_dir / 'epoch_3.pth', 1000)
    resumed = make_runner('cut', {'resume': True})
    assert trained(resumed) == expected[10:]
    assert (work_dir / 'epoch_3.pth.corrupt').exists()
    given = make_runner('cut', {'resume': True, 'load_from': str(work_dir / 'epoch_3.pth.corrupt')})
    with pytest.raises(CheckpointError, match='newest good one'):
        given.train()


def test_one_batch_may_come_in_parts(make_runner):
    """The global batch is kept: same samples, same learning rate, the same losses."""
    curves, weights = [], []
    for batch_size, per_device in ((32, 32), (8, 8), (12, 8)):  # 12 does not divide 32
        changes = {'train_dataloader.batch_size': batch_size}
        runner = make_runner(str(batch_size), changes)
        curves.append(trained(runner))
        weights.append(runner.model.state_dict())
        line = f'lr 0.005 = 0.04 x 32 / 256; 32 = {per_device} per device x 1 device x '
        assert f'{line}{32 // per_device} accumulation' in log_of(runner)
        assert len(curves[-1]) == 15
    assert curves[1] == curves[2] == pytest.approx(curves[0], rel=1e-5)
    for name, value in weights[0].items():
        # The gradient of a key's bias is rounding alone, which Adam blows up; it has no effect.
        if not name.endswith('qkv.bias'):
            torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)


def test_smaller_last_batch_counts_for_its_samples(make_runner):
    curves = []
    for batch_size in (96, 12):
        changes = {
            'train_dataloader.batch_size': batch_size,
            'train_dataloader.sampler.drop_last': False,
            'global_batch_size': 96,
        }
        curves.append(trained(make_runner(str(batch_size), changes)))
    assert len(curves[0]) == 6  # 160 samples: 96 and 64
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


def test_a_batch_that_nothing_divides_is_dealt_evenly(make_runner):
    curves = []
    for batch_size in (31, 12):
        changes = {'global_batch_size': 31, 'train_dataloader.batch_size': batch_size}
        runner = make_runner(str(batch_size), changes)
        curves.append(trained(runner))
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert '31 = at most 11 per device x 1 device x 3 accumulation' in log_of(runner)


def test_batches_that_do_not_fit(make_runner):
    runner = make_runner(changes={'global_batch_size': -31, 'train_dataloader.batch_size': 12})
    with pytest.raises(
        ConfigError, match=r'^train_dataloader: more processes than samples of a batch: 1 [^\n]*$'
    ):
        runner.train()


def test_rate_given_twice(make_runner):
    runner = make_runner(changes={'optim_wrapper.optimizer.lr': 0.1})
    with pytest.raises(ConfigError, match=r'^base_lr and optim_wrapper.optimizer.lr are both set'):
        runner.train()


def test_rate_as_it_is(make_runner):
    runner = make_runner(changes={'optim_wrapper.optimizer.lr': 0.1, 'base_lr': None})
    runner.train()
    assert runner.optim_wrapper.optimizer.param_groups[0]['initial_lr'] == 0.1


def test_a_run_is_a_function_of_its_seed(make_runner):
    curves = {}
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        curves[name] = trained(make_runner(name, {'randomness.seed': seed}))
    assert curves['a'] == curves['b']
    assert curves['a'][0] != curves['c'][0]
    assert curves['a'][-1] < 0.75 * curves['a'][0]  # it learns


def test_bfloat16(make_runner):
    exact = trained(make_runner('exact'))
    runner = make_runner('half', {'optim_wrapper.amp': 'bfloat16'})
    half = trained(runner)
    assert half != exact
    assert half == pytest.approx(exact, rel=0.02)
    assert all(param.dtype == torch.float32 for param in runner.model.parameters())
    assert 'loss_scaler' not in runner.optim_wrapper.state_dict()


def test_fine_tuning_starts_from_the_encoder(make_runner):
    source = make_runner('pretrain', {'train_cfg.max_epochs': 2})
    source.train()
    path = Path(source.work_dir) / 'epoch_2.pth'
    changes = {'load_from': str(path), 'train_cfg.max_epochs': 2, 'base_lr': 0.0}
    runner = make_runner('finetune', changes, classify=True)
    runner.train()
    weights = source.model.state_dict()
    for name, value in runner.model.state_dict().items():
        assert not name.startswith('encoder.') or torch.equal(value, weights[name]), name
    assert 'start fresh (head)' in log_of(runner)
    assert 'NOTHING IS LEARNED at a rate of 0' in log_of(runner)
    assert 'left out (decoder, encoder.norm)' in log_of(runner)

    assert load_checkpoint(path)['meta']['started_from'] is None
    tuned = Path(runner.work_dir) / 'epoch_2.pth'
    start = load_checkpoint(tuned)['meta']['started_from']
    digest = weights_sha256(source.bare_model.state_dict())
    assert start == {'file': 'epoch_2.pth', 'weights_sha256': digest, 'pretraining': 'MAE'}
    changes |= {'resume': True, 'load_from': str(tuned), 'train_cfg.max_epochs': 3}
    resumed = make_runner('resumed', changes, classify=True)
    resumed.train()
    assert resumed.training_checkpoint(15)['meta']['started_from'] == start


def test_watching_changes_nothing(make_runner):
    """k-NN in between leaves the run as it is, bit for bit."""
    plain = make_runner('plain')
    expected = trained(plain)
    loaders = {
        'dataloader': plain.cfg.train_dataloader,
        'bank_dataloader': plain.cfg.train_dataloader,
    }
    loaders = {
        name: {**loader, 'sampler': dict(type='ShardSampler')} for name, loader in loaders.items()
    }
    hook = dict(type='KNNHook', interval=2, k=1, **loaders)
    watched = make_runner('watched', {'custom_hooks': [hook]})
    assert trained(watched) == expected
    found = re.findall(r'Epoch\(knn\) \[(\d)\]  top1: ([\d.]+)', log_of(watched))
    assert [epoch for epoch, _ in found] == ['2', '3']  # the interval, and the end
    assert all(float(top1) == 100 for _, top1 in found)  # each finds itself


def test_console_and_scalars(make_runner):
    runner = make_runner()
    losses = trained(runner)
    assert sorted(losses_of(runner)) == list(range(1, 16))
    assert losses_of(runner)[1] == pytest.approx(losses[0])
    log = log_of(runner)
    assert 'Epoch(train) [1][1/5]' in log
    assert 'eta: ' in log


def test_interrupted_run_leaves_whole_checkpoints(make_runner):
    class Stop(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 8:
                raise KeyboardInterrupt

    changes = {'default_hooks.checkpoint': dict(interval=2, by_epoch=False, max_keep=2)}
    runner = make_runner('run', changes)
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    last = Path((Path(runner.work_dir) / 'last_checkpoint').read_text())
    assert load_checkpoint(last)['meta']['step'] == 8
    expected = trained(make_runner('whole', changes))
    shutil.rmtree(next(Path(runner.work_dir).glob('2*/')))
    assert trained(make_runner('run', {**changes, 'resume': True})) == expected[8:]


@pytest.mark.parametrize('gpu', [False, True])
def test_gradients_are_views_of_the_reduced_buckets(make_runner, monkeypatch, gpu):
    """Without that each process holds them twice."""
    given = []
    runner = make_runner()
    model = runner.model
    monkeypatch.setattr(Runner, 'distributed', True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(
        'mae.engine.runner.MMDistributedDataParallel', lambda **options: given.append(options)
    )
    monkeypatch.setattr(
        'mmengine.runner.Runner.wrap_model', lambda self, options, model: given.append(options)
    )
    runner.wrap_model(None, model)
    (options,) = given
    assert options['gradient_as_bucket_view'] is True
    assert options['broadcast_buffers'] is False


@pytest.mark.parametrize(
    ('norm', 'sync_bn', 'world_size'),
    [
        ('batch', 'torch', 2),
        ('sync', None, 2),
        ('batch', None, 2),
        ('layer', 'torch', 2),
        ('batch', 'torch', 1),
    ],
)
def test_batch_norms_of_several_cpus_are_not_synchronised(
    make_runner, monkeypatch, norm, sync_bn, world_size
):
    """PyTorch raises in the first step; without a word each process had its own statistics."""
    runner = make_runner(changes={'sync_bn': sync_bn})
    kinds = {'batch': nn.BatchNorm1d, 'sync': nn.SyncBatchNorm, 'layer': nn.LayerNorm}
    model = nn.Sequential(nn.Linear(4, 4), kinds[norm](4))
    runner._world_size = world_size
    monkeypatch.setattr(Runner, 'distributed', True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('mae.engine.runner.MMDistributedDataParallel', lambda **options: 'wrapped')
    if (norm, sync_bn, world_size) not in (('batch', 'torch', 2), ('sync', None, 2)):
        assert runner.wrap_model(None, model) == 'wrapped'
        return
    with pytest.raises(ConfigError, match=r'on 2 CPU processes set sync_bn=None'):
        runner.wrap_model(None, model)
