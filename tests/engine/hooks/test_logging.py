import json
import logging
import math
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.visualization import LocalVisBackend

from mae.engine.history import lines_until
from mae.engine.hooks import LoggerHook
from mae.visualization.runs.logs import read_scalars


class Losses(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(outputs['loss']))


def rows_of(runner):
    (path,) = Path(runner.work_dir).rglob('vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def lr_of_step(step):
    """One epoch of warm-up to 0.005, one of cosine."""
    return 0.005 * step / 5 if step < 5 else 0.0025 * (1 + math.cos(math.pi * (step - 5) / 5))


@pytest.mark.parametrize('interval', [1, 2, 3, 100])
def test_a_line_is_the_mean_since_the_line_before(make_runner, interval):
    changes = {'default_hooks.logger.interval': interval, 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes)
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    ends = [step for step in range(1, 11) if step % 5 == 0 or (step % 5) % interval == 0]
    rows = rows_of(runner)
    assert [row['step'] for row in rows] == ends
    starts = [0, *ends[:-1]]
    for row, start, end in zip(rows, starts, ends, strict=True):
        part = losses.seen[start:end]
        assert row['loss'] == pytest.approx(sum(part) / len(part), rel=1e-6)
        assert row['epoch'] == (end - 1) // 5 + 1
        # The rate the last of these steps was taken with.
        assert row['lr'] == pytest.approx(lr_of_step(end - 1))


def test_small_numbers_of_an_evaluation_keep_their_digits(make_runner):
    runner = make_runner(classify=True)
    runner.train()
    for name, value in (('small', 1e-5), ('penalty', 3e-4), ('large', 12.5), ('zero', 0.0)):
        runner.message_hub.update_scalar(f'val/{name}', value)
    tag, line = runner.log_processor.get_log_after_epoch(runner, 1, 'val')
    assert tag['small'] == 1e-5
    for shown in (' small: 1e-05 ', ' penalty: 0.0003 ', ' large: 12.5000 ', ' zero: 0.0000 '):
        assert shown in line


def test_a_disk_that_refuses_the_log_does_not_stop_the_run(make_runner, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    runner = make_runner(changes={'train_cfg.max_epochs': 2}, classify=True)
    monkeypatch.setattr(LocalVisBackend, '_dump', full)
    runner.train()
    assert runner.iter == 10
    (log,) = Path(runner.work_dir).rglob('*.log')
    assert log.read_text().count('logging failed') == 1


def refuse(word):
    raise ValueError(f'{word} is not JSON')


def test_a_log_of_nan_is_strict_json(make_runner):
    """The loss of a run that diverges is NaN; what it logs is still read by everybody."""
    changes = {
        'train_cfg.max_epochs': 2,
        'base_lr': 1e12,
        'param_scheduler.warmup_epochs': 0,
        'default_hooks.guard': dict(type='GuardHook', patience=1000),
    }
    runner = make_runner(changes=changes)
    runner.train()
    written = list(Path(runner.log_dir).rglob('*.json'))
    assert len(written) == 2  # scalars.json, and one named by the start of the run
    for path in written:
        lines = path.read_text().splitlines()
        rows = [json.loads(line, parse_constant=refuse) for line in lines]
        assert rows[-1]['loss'] == 'NaN'
    records = read_scalars(Path(runner.log_dir) / 'vis_data' / 'scalars.json')
    assert len(records) == 10
    assert math.isnan(records[-1]['loss'])


def test_a_resumed_run_copies_no_bare_nan():
    old = b'{"loss": NaN, "epoch": 1, "step": 1}\n'
    new = b'{"loss": "Infinity", "epoch": 1, "step": 2}\n'
    kept = [json.loads(line, parse_constant=refuse) for line in lines_until([old, new], 2)]
    assert [row['loss'] for row in kept] == ['NaN', 'Infinity']


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_a_full_log_file_does_not_stop_the_run(make_runner, capfd):
    class Full(Hook):
        def before_train(self, runner):
            (handler,) = [h for h in runner.logger.handlers if isinstance(h, logging.FileHandler)]
            handler.stream.close()
            handler.stream = open('/dev/full', 'w')  # noqa: SIM115

    runner = make_runner(changes={'train_cfg.max_epochs': 2})
    runner.register_hook(Full())
    runner.train()
    out, err = capfd.readouterr()
    assert runner.iter == 10
    assert out.count('logging failed') == 1
    assert 'Epoch(train) [2][5/5]' in out
    assert 'Traceback' not in err


@pytest.mark.parametrize(('seconds', 'expected'), [(0.002, 1), (0.0, 0)])
def test_a_loader_that_is_the_bound_is_told_of_once(make_runner, monkeypatch, seconds, expected):
    """Each step waits `seconds` of the .01 that it is made to take, the first a second."""
    changes = {
        'train_dataloader.batch_size': 8,
        'global_batch_size': 8,
        'default_hooks.logger.interval': 20,
        'train_cfg.max_epochs': 2,
    }
    runner = make_runner(changes=changes)

    class Clock(Hook):
        priority = 'BELOW_NORMAL'  # after the timer, before the log: `LoggerHook` came first

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            scalars = runner.message_hub.log_scalars
            waited = seconds if batch_idx else 1
            scalars['train/data_time'].data[0][-1] = waited
            scalars['train/time'].data[0][-1] = max(waited, 0.01)

    (logger,) = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
    runner._hooks.insert(runner._hooks.index(logger), Clock())
    runner.train()
    (log,) = Path(runner.work_dir).rglob('*.log')
    text = log.read_text()
    assert text.count('the loader is the bound: 20% of the time of a step, 0.01 s') == expected
    assert text.count('the loader is the bound') == expected
    if expected:
        assert '(train_dataloader.num_workers is 0)' in text


def test_the_norm_of_clipped_gradients_is_logged(make_runner):
    changes = {'optim_wrapper.clip_grad': dict(max_norm=1e-3), 'train_cfg.max_epochs': 2}
    runner = make_runner(changes=changes)
    runner.train()
    assert all(row['grad_norm'] > 0 for row in rows_of(runner))
