"""Bad samples over two processes: the same replacements as over one, one account, one stop."""

import json

import pytest
import torch
from mmengine.hooks import Hook

from mae.utils.errors import DataError


class Recorder(Hook):
    def __init__(self):
        self.keys = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.keys.append(torch.cat([batch['keys'] for batch in data_batch]).tolist())


class BadDigits:
    """Makes every hundredth of the digits unreadable."""

    def __init__(self, source):
        self.source, self.metainfo = source, source.metainfo

    def __len__(self):
        return len(self.source)

    def get_data_info(self, index):
        return (
            {'img_path': f'/none/{index}'} if index % 100 == 0 else self.source.get_data_info(index)
        )


@pytest.fixture
def train(demo, make_runner, tmp_path):
    """train(name, fraction) runs one epoch; keys of each step and the error, if any."""

    def run(name, fraction):
        options = {
            **demo['small'],
            'launcher': 'pytorch' if torch.distributed.is_initialized() else 'none',
            'train_cfg.max_epochs': 1,
            'param_scheduler.warmup_epochs': 0,
            'global_batch_size': 128,
            'train_dataloader.batch_size': 64,
            'train_dataloader.dataset.pipeline': [
                dict(type='DecodeImage', channels=1),
                dict(type='PackInputs'),
            ],
            'default_hooks.bad_samples.max_bad_fraction': fraction,
            'default_hooks.bad_samples.interval': 2,
        }
        runner = make_runner(demo['pretrain'], options, folder=tmp_path / name)
        recorder = Recorder()
        runner.register_hook(recorder)
        loop = runner.build_train_loop(runner._train_loop)
        loop.dataloader.dataset.source = BadDigits(loop.dataloader.dataset.source)
        runner._train_loop = loop
        try:
            runner.train()
        except DataError as error:
            return recorder.keys, str(error).partition(';')[0]
        return recorder.keys, None

    return run


def account(folder):
    rows = map(json.loads, (folder / 'bad_samples.jsonl').read_text().splitlines())
    return sorted((row['step'], row['id'], row['replaced_by']) for row in rows)


def test_two_processes_do_as_one(processes, train, tmp_path):
    alone, _ = train('one', 0.02)  # here, for what it imports
    ranks = [keys for keys, _ in processes(2, lambda: train('two', 0.02))]
    assert [sorted(a + b) for a, b in zip(*ranks, strict=True)] == [sorted(k) for k in alone]
    assert account(tmp_path / 'two') == account(tmp_path / 'one')
    assert len(account(tmp_path / 'one')) >= 13  # of 15: the last, smaller batch is left out


def test_all_processes_stop_at_the_same_step(processes, train):
    keys, error = train('one', 0.003)
    found = processes(2, lambda: train('two', 0.003))
    assert error.endswith('more than max_bad_fraction=0.003 of its 1437')
    assert [(len(k), e) for k, e in found] == [(len(keys), error)] * 2
