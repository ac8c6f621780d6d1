"""Segmentation and detection by the real runner: workers, cuts, interruptions, bad numbers."""

import os
import shutil
import signal
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from mae.fault_tolerance.signals import Stopped, StopSignals
from mae.utils.digest import weights_sha256
from mae.utils.errors import DataError
from tests.engine.dense import FREE_OF_BATCHES, changes_of, validation_of

KINDS = ('segmenter', 'detector')
SGD = dict(_delete_=True, type='SGD', momentum=0.9)


class Recorder(Hook):
    """The batches of each step and its losses."""

    def __init__(self):
        self.batches, self.losses = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(data_batch)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: float(v) for k, v in outputs.items()} if outputs else None)


class SendTerm(Hook):
    """A signal to this process at the end of a step, from 1."""

    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def trained(runner, *hooks):
    recorder = Recorder()
    for hook in (recorder, *hooks):
        runner.register_hook(hook)
    with StopSignals() as runner.signals, suppress(Stopped):
        runner.train()
    return recorder


def state_of(runner):
    """Hash of the weights, and every tensor of the optimizer."""
    states = runner.optim_wrapper.optimizer.state_dict()['state']
    tensors = [value for _, state in sorted(states.items()) for value in state.values()]
    return weights_sha256(runner.bare_model.state_dict()), [t.tolist() for t in tensors]


@pytest.fixture
def make(make_runner):
    """make(folder, changes): a runner takes `_delete_` out of the changes it is given."""
    return lambda folder, changes: make_runner(folder, deepcopy(changes))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_workers_change_nothing(make, kind):
    """Images, maps and objects of all steps, bit for bit, and with them the weights."""
    seen = []
    for workers in (0, 1, 4):
        more = {'train_dataloader.num_workers': workers, 'train_cfg.max_epochs': 1}
        runner = make(f'{workers}', changes_of(kind, **more))
        seen.append((trained(runner), weights_sha256(runner.bare_model.state_dict())))
    first, digest = seen[0]
    assert len(first.batches) == 3
    for other, its_digest in seen[1:]:
        assert its_digest == digest
        for ours, theirs in zip(first.batches, other.batches, strict=True):
            assert ours[0].keys() == theirs[0].keys()
            assert all(torch.equal(ours[0][name], theirs[0][name]) for name in ours[0])


def test_parts_of_a_batch_add_up(make, kind):
    """Two micro-batches of two are one of four, the last and smaller one of an epoch too."""
    recorders = []
    for batch_size in (4, 2):
        more = {
            **FREE_OF_BATCHES[kind],
            'train_dataloader.batch_size': batch_size,
            'optim_wrapper.optimizer': SGD,
        }
        recorders.append(trained(make(f'{batch_size}', changes_of(kind, **more))))
    whole, parts = recorders
    sizes = [[len(batch['ids']) for batch in step] for step in parts.batches[:3]]
    assert sizes == [[2, 2], [2, 2], [2]]
    for one, other in zip(whole.losses, parts.losses, strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-4)


def test_valid_pixels_depend_on_the_cut(make):
    """`divide_by='valid'`: as documented, parts with other shares of ignored pixels differ."""
    found = []
    for batch_size in (4, 2):
        more = {
            **FREE_OF_BATCHES['segmenter'],
            'train_dataloader.batch_size': batch_size,
            'model.loss.divide_by': 'valid',
        }
        found.append(trained(make(f'{batch_size}', changes_of('segmenter', **more))))
    first = [recorder.losses[0]['loss'] for recorder in found]
    assert first[0] != pytest.approx(first[1], rel=1e-6)
    assert first[0] == pytest.approx(first[1], rel=0.2)


@pytest.mark.parametrize(('kind', 'stop'), [('detector', 2), ('segmenter', 3)])
def test_stopped_and_resumed_is_the_uninterrupted_run(make, kind, stop):
    changes = {**changes_of(kind), **validation_of(kind)}
    whole = make('whole', changes)
    expected = trained(whole)
    assert len(expected.losses) == 6
    first = trained(make('run', changes), SendTerm(stop))
    assert len(first.losses) == stop
    resumed = make('run', {**changes, 'resume': True})
    second = trained(resumed)
    assert first.losses + second.losses == expected.losses
    assert state_of(resumed) == state_of(whole)


@pytest.mark.parametrize(
    ('spoilt', 'message'),
    [
        ((20, 32), r'3\.png: the map has 20x32 pixels, its image .*3\.png 32x32'),
        (77, r'3\.png: 1024 pixels of the label map are neither one of the 11 classes nor '),
        (b'', r'3\.png: no label map that can be read: the file is empty'),
    ],
    ids=['size', 'label', 'empty'],
)
def test_validation_maps_are_tried_before_the_first_step(make, tmp_path, spoilt, message):
    folders = [tmp_path / 'data' / name for name in ('images', 'maps')]
    for folder in folders:
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new('L', (32, 32), number).save(folder / f'{number}.png')
    last = folders[1] / '3.png'
    if isinstance(spoilt, bytes):
        last.write_bytes(spoilt)
    else:
        size, label = (spoilt[::-1], 0) if isinstance(spoilt, tuple) else ((32, 32), spoilt)
        Image.new('L', size, label).save(last)
    changes = {**changes_of('segmenter'), **validation_of('segmenter')}
    dataset = changes['val_dataloader']['dataset']
    dataset['source'] = dict(
        type='LabelMapFolder', root=str(tmp_path / 'data'), images='images', maps='maps'
    )
    dataset['pipeline'][:0] = [dict(type='DecodeImage', channels=1), dict(type='LoadMap')]
    runner = make('run', changes)
    with pytest.raises(DataError, match='^val_dataloader: .*' + message):
        runner.train()
    assert runner.iter == 0


class Validations(Hook):
    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append((runner.iter, metrics))


def test_a_run_in_steps_is_resumed_within_an_epoch(make):
    """8 steps of epochs of 3, validation every 2: stopped after a step, and from a checkpoint."""
    changes = {
        **changes_of('segmenter'),
        **validation_of('segmenter'),
        'train_cfg': dict(type='TrainLoop', max_epochs=None, max_steps=8, val_interval=2),
        'param_scheduler': dict(_delete_=True, type='WarmupPolyLR', warmup=2),
        'default_hooks.checkpoint': dict(type='CheckpointHook', by='iter', interval=5, max_keep=-1),
    }
    changes.pop('train_cfg.max_epochs')
    whole, validations = make('whole', changes), Validations()
    expected = trained(whole, validations)
    assert [step for step, _ in validations.seen] == [2, 4, 6, 8]
    saved = Path(whole.work_dir) / 'iter_5.pth'

    again = Validations()
    first = trained(make('run', changes), SendTerm(4), again)
    resumed = make('run', {**changes, 'resume': True})
    second = trained(resumed, again)
    assert first.losses + second.losses == expected.losses
    assert again.seen == validations.seen
    assert state_of(resumed) == state_of(whole)

    folder = Path(whole.work_dir).with_name('copied')
    folder.mkdir()
    shutil.copy(saved, folder)
    (folder / 'last_checkpoint').write_text(str(folder / saved.name))
    copied = make('copied', {**changes, 'resume': True})
    assert trained(copied).losses == expected.losses[5:]
    assert state_of(copied) == state_of(whole)


def test_an_early_stop_ends_a_run_in_steps(make):
    """mmengine's hook, which asks for a stop where a metric no longer grows."""
    changes = {
        **changes_of('segmenter'),
        **validation_of('segmenter'),
        'train_cfg': dict(type='TrainLoop', max_epochs=None, max_steps=30, val_interval=2),
        'param_scheduler': dict(_delete_=True, type='WarmupPolyLR', warmup=2),
        'base_lr': 0.0,  # nothing grows
        'default_hooks.checkpoint': dict(type='CheckpointHook', by='iter', interval=100),
        'custom_hooks': [dict(type='EarlyStoppingHook', monitor='miou', rule='greater')],
    }
    changes['custom_hooks'][0] |= dict(patience=1, min_delta=0.01)
    changes.pop('train_cfg.max_epochs')
    runner, validations = make('run', changes), Validations()
    trained(runner, validations)
    assert [step for step, _ in validations.seen] == [2, 4]
    assert runner.iter == 4  # in the middle of an epoch
    assert (Path(runner.work_dir) / 'iter_4.pth').exists()


class SpoilStep(Hook):
    """NaN in the loss of a step, from 1."""

    def __init__(self, step):
        self.step = step

    def before_train(self, runner):
        update = runner.optim_wrapper.update_params
        runner.optim_wrapper.update_params = lambda loss: update(
            loss * torch.nan if runner.iter + 1 == self.step else loss
        )


def test_a_step_that_is_not_a_number_changes_nothing(make, kind):
    """As elsewhere: neither weights nor optimizer, and the run goes on."""
    digests = []

    class Note(Hook):
        def after_step(self, runner):
            digests.append(weights_sha256(dict(runner.bare_model.named_parameters())))

    recorder = trained(make('run', changes_of(kind)), SpoilStep(3), Note())
    assert len(recorder.losses) == 6
    assert digests[2] == digests[1]
    assert len(set(digests)) == 5
