"""A folder of 40 images, three of them damaged: five steps of eight an epoch."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from mae.engine.hooks import BadSamplesHook, CheckpointHook
from mae.fault_tolerance.signals import RolledBack
from mae.utils.errors import ConfigError, DataError

BAD = (3, 17, 30)


class Recorder(Hook):
    priority = 'LOWEST'

    def __init__(self, stop_after=None):
        self.steps, self.stop_after = [], stop_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (batch,) = data_batch
        assert batch.keys() == {'inputs', 'labels', 'ids', 'keys'}
        self.steps.append([batch['ids'], batch['keys'], batch['inputs'], outputs['loss']])
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path):
    root, noise = tmp_path / 'images', np.random.default_rng(0)
    root.mkdir()
    for number in range(40):
        pixels = noise.integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f'{number:02}.png')
    for number in BAD:
        path = root / f'{number:02}.png'
        path.write_bytes(path.read_bytes()[:70])
    return root


@pytest.fixture
def prepare(make_runner, folder):
    """prepare(name, ...) is a runner on the folder and a record of what it does."""

    def make(name, workers=0, stop_after=None, fraction=0.1, **changes):
        dataset = dict(
            type='SeededDataset',
            source=dict(_delete_=True, type='ImageFolder', root=str(folder), labelled=False),
            pipeline=[
                dict(type='DecodeImage', channels=1),
                dict(type='RandomResizedCrop', size=8),
                dict(type='PackInputs'),
            ],
        )
        options = {
            'global_batch_size': 8,
            'train_dataloader.batch_size': 8,
            'train_dataloader.num_workers': workers,
            'train_dataloader.persistent_workers': workers > 0,
            'train_dataloader.dataset': dataset,
            'default_hooks.bad_samples': dict(
                type='BadSamplesHook', max_bad_fraction=fraction, interval=2
            ),
            'default_hooks.checkpoint': dict(interval=3, by_epoch=False),
            'train_cfg.max_epochs': 3,
            **changes,
        }
        runner = make_runner(name, options)
        recorder = Recorder(stop_after)
        runner.register_hook(recorder)
        return runner, recorder

    return make


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


def lines(runner):
    text = (Path(runner.work_dir) / 'bad_samples.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def assert_same(steps, others):
    for step, other in zip(steps, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(step, other, strict=True))


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
def test_a_run_with_bad_samples_is_still_a_function_of_its_step(prepare, folder):
    alone, reference = prepare('alone')
    alone.train()
    assert len(reference.steps) == 15
    read = torch.cat([step[0] for step in reference.steps])
    assert not set(BAD) & set(read.tolist())

    account = lines(alone)
    assert [(line['epoch'], line['id']) for line in account] != []
    for epoch in (1, 2, 3):
        assert sorted(line['id'] for line in account if line['epoch'] == epoch) == list(BAD)
    for line in account:
        assert line['path'] == str(folder / f'{line["id"]:02}.png')
        assert 'truncated' in line['reason'].lower()
        assert line['replaced_by'] in reference.steps[line['step'] - 1][0]
        assert line['epoch'] == (line['step'] - 1) // 5 + 1

    for workers in (1, 4):
        runner, recorder = prepare(f'{workers} workers', workers)
        runner.train()
        assert_same(recorder.steps, reference.steps)
        assert lines(runner) == account

    stopped, before = prepare('resumed', stop_after=8)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    with open(Path(stopped.work_dir) / 'bad_samples.jsonl', 'a') as file:
        file.write('{"epoch": 2, "st')  # a line that the kill cut off
    runner, after = prepare('resumed', resume=True)
    runner.train()
    assert_same(before.steps[:6] + after.steps, reference.steps)
    assert lines(runner) == account


def test_too_many_stop_the_run(prepare):
    runner, recorder = prepare('run', fraction=0.05)  # two of 40
    with pytest.raises(DataError) as error:
        runner.train()
    assert len(recorder.steps) <= 5
    message = str(error.value)
    assert '3 bad samples in epoch 1 ' in message
    assert 'max_bad_fraction=0.05 of its 40' in message
    assert f'{runner.work_dir}/bad_samples.jsonl names them' in message
    assert len(lines(runner)) == 3


def test_too_many_are_told_with_the_first_files_and_what_to_do(prepare, folder):
    runner, _ = prepare('run', fraction=0.001)
    with pytest.raises(DataError) as error:
        runner.train()
    message = str(error.value)
    found = [line['path'] for line in lines(runner)]
    assert sorted(found) == [str(folder / f'{number:02}.png') for number in BAD]
    assert f'they are 7.50% (2 are always allowed): {", ".join(found)}; ' in message
    assert 'default_hooks.bad_samples.max_bad_fraction' in message
    assert 'train_dataloader.dataset.quarantine' in message
    assert '\n' not in message


@pytest.mark.parametrize(('allowed', 'is_stopped'), [(None, False), (10, False), (0, True)])
def test_a_few_bad_files_never_end_a_run(prepare, folder, allowed, is_stopped):
    """Two of 40 with the default share of a thousandth, which is less than one file."""
    good = (folder / '00.png').read_bytes()
    (folder / f'{BAD[0]:02}.png').write_bytes(good)
    changes = {} if allowed is None else {'default_hooks.bad_samples.always_allowed': allowed}
    runner, recorder = prepare('run', fraction=0.001, **changes)
    if is_stopped:
        with pytest.raises(DataError, match=r'\d bad samples in epoch 1 .*\(0 are '):
            runner.train()
        return
    runner.train()
    assert len(recorder.steps) == 15
    assert len(lines(runner)) == 2 * 3


@pytest.mark.parametrize(
    ('samples', 'tolerated'), [(10, 1), (39, 1), (40, 2), (270, 10), (9_999, 10), (20_000, 20)]
)
def test_how_many_are_tolerated(tmp_path, samples, tolerated):
    """Few of a small set, and the share from 10,000 samples on."""
    hook = BadSamplesHook()
    loader = SimpleNamespace(sampler=SimpleNamespace(num_samples=samples), dataset=None)
    runner = SimpleNamespace(train_dataloader=loader, work_dir=str(tmp_path), epoch=0)
    hook.before_train(runner)
    hook._count = tolerated
    hook._compare(runner)
    hook._count = tolerated + 1
    with pytest.raises(DataError, match=f'^{tolerated + 1} bad samples in epoch 1'):
        hook._compare(runner)


def test_a_damaged_account_does_not_end_a_resumed_run(prepare):
    runner, _ = prepare('run', stop_after=8)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    with open(Path(runner.work_dir) / 'bad_samples.jsonl', 'ab') as file:
        file.write(b'\xff\xfe\0\0 of a power failure')
    resumed, _ = prepare('run', resume=True)
    resumed.train()
    assert all(line['path'] for line in lines(resumed))


def test_as_many_as_allowed_do_not(prepare):
    runner, recorder = prepare('run', fraction=0.075)
    runner.train()
    assert len(recorder.steps) == 15


def test_what_came_before_a_resumed_step_counts(prepare):
    runner, _ = prepare('run', stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    steps = [line['step'] for line in lines(runner)]
    resumed, recorder = prepare('run', fraction=0.05, resume=True)
    with pytest.raises(DataError, match='3 bad samples in epoch 1'):
        resumed.train()
    assert len(recorder.steps) <= 2
    assert min(steps) <= 3  # so that some were found before the checkpoint


def test_an_epoch_that_is_over_does_not_count_in_the_next(prepare):
    """Three of 40 in each epoch, and the run was cut at the end of one."""
    runner, _ = prepare('run', stop_after=6, **{'default_hooks.checkpoint.interval': 5})
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    resumed, recorder = prepare('run', fraction=0.075, resume=True)
    resumed.train()
    assert len(recorder.steps) == 10


class GoBack(Hook):
    """Once, after a step, back to the checkpoint before."""

    def __init__(self, step):
        self.step = step

    def after_step(self, runner):
        if runner.iter == self.step:
            self.step = None
            hook_of(runner).wait()
            runner.resume(f'{runner.work_dir}/iter_3.pth')
            raise RolledBack


def test_what_a_run_went_back_over_is_counted_once(prepare):
    expected, _ = prepare('without')
    expected.train()
    runner, recorder = prepare('run', fraction=0.075)
    runner.register_hook(GoBack(5))
    runner.train()
    assert len(recorder.steps) == 17
    assert lines(runner) == lines(expected)


def test_a_new_run_in_an_old_work_dir_begins_a_new_account(prepare):
    for _ in range(2):
        runner, _ = prepare('run', **{'train_cfg.max_epochs': 2})
        runner.train()
        assert len(lines(runner)) == 6


def test_none_allowed_means_none_replaced(prepare, folder):
    runner, _ = prepare('run', fraction=0.0)
    with pytest.raises(DataError, match=rf'{folder}/\d+.png: cannot be decoded'):
        runner.train()
    assert not (Path(runner.work_dir) / 'bad_samples.jsonl').exists()


def test_a_quarantine_list_ends_the_matter_and_refuses_to_resume(prepare, folder, tmp_path):
    runner, _ = prepare('run', stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    (tmp_path / 'list').write_text('\n'.join(f'{number:02}.png' for number in BAD))
    changes = {'train_dataloader.dataset.quarantine': str(tmp_path / 'list')}
    clean, recorder = prepare('clean', **changes)
    clean.train()
    assert len(recorder.steps) == 12  # of 37 samples
    assert not (Path(clean.work_dir) / 'bad_samples.jsonl').exists()
    resumed, _ = prepare('run', resume=True, **changes)
    with pytest.raises(ValueError, match='num_samples was 40 and is 37 now'):
        resumed.train()


def test_a_full_disk_does_not_end_the_run(prepare, monkeypatch):
    runner, recorder = prepare('run', **{'train_cfg.max_epochs': 2})
    (Path(runner.work_dir) / 'bad_samples.jsonl').mkdir()
    runner.train()
    assert len(recorder.steps) == 10


@pytest.mark.parametrize(
    'wrong', [{'max_bad_fraction': 1.5}, {'interval': 0}, {'always_allowed': -1}]
)
def test_wrong_numbers(wrong):
    with pytest.raises(ConfigError, match=r'max_bad_fraction in 0\.\.1 and interval >= 1'):
        BadSamplesHook(**wrong)
