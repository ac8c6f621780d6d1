"""What one of two processes meets, both act on: signals and bad numbers."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch._dynamo.utils import counters

from mae.fault_tolerance.signals import Stopped, StopSignals
from mae.registry import HOOKS
from mae.utils.digest import weights_sha256

FORK = multiprocessing.get_context('fork')  # starting Python anew would take seconds
CHANGES = {
    'launcher': 'pytorch',
    'train_dataloader.batch_size': 16,
    'train_cfg.max_epochs': 2,
    'default_hooks.checkpoint': dict(interval=4, by_epoch=False),
    'env_cfg': dict(dist_cfg=dict(timeout=60)),
}


def free_port():
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        return place.getsockname()[1]


def child(rank, port, folder, make, hook):
    torch.set_num_threads(1)
    os.environ |= {
        **dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2'),
        **dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)),
    }
    code = 1
    try:
        runner = make()
        if hook is not None and rank == 1:
            runner.register_hook(hook)
        with StopSignals() as runner.signals:
            try:
                runner.train()
                code = 0
            except Stopped as stopped:
                code = stopped.code
        weights = runner.bare_model.state_dict()
        counts = [h.count.total for h in runner.hooks if hasattr(h, 'count')]
        text = f'{runner.iter} {counts[0]} {weights_sha256(weights)}'
        (folder / f'rank{rank}').write_text(text)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


@pytest.fixture
def two(make_runner, tmp_path):
    """two(folder, hook, changes) trains with `hook` on rank 1: exit code; step, bad steps, hash."""

    make_runner('preload', {'train_cfg.max_epochs': 2}).train()  # its imports, once

    def run(folder, hook=None, changes=(), classify=False):
        port = free_port()
        changes = {**CHANGES, **dict(changes)}

        def make():
            return make_runner(folder, changes, classify)

        processes = [
            FORK.Process(target=child, args=(rank, port, tmp_path, make, hook)) for rank in (0, 1)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        codes = {process.exitcode for process in processes}
        assert len(codes) == 1
        results = {(tmp_path / f'rank{rank}').read_text() for rank in (0, 1)}
        assert len(results) == 1
        step, bad, digest = results.pop().split()
        return codes.pop(), int(step), int(bad), digest

    return run


class Interrupt(Hook):
    def __init__(self, point, step):
        self.step = step
        setattr(self, point, self._kill)

    def _kill(self, runner, **others):
        if runner.iter == self.step:
            self.step = None
            os.kill(os.getpid(), signal.SIGUSR1)


class Spoil(Hook):
    def __init__(self, step, loss):
        self.step, self.loss = step, loss

    def before_train(self, runner):
        if self.loss:
            update = runner.optim_wrapper.update_params
            runner.optim_wrapper.update_params = lambda loss: update(
                loss + torch.inf if runner.iter == self.step else loss
            )
        else:
            param = next(runner.bare_model.parameters())
            param.register_hook(lambda g: g * torch.nan if runner.iter == self.step else None)


@HOOKS.register_module()
class LeaveOutStep6(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        runner.train_loop.left_out = [(6, 7)]


@pytest.mark.parametrize('loss', [True, False])
def test_bad_numbers_on_one_rank_are_skipped_on_both(two, loss):
    code, step, bad, digest = two('run', Spoil(6, loss))
    assert (code, step, bad) == (0, 10, 1)
    expected = two('without', None, {'custom_hooks': [dict(type='LeaveOutStep6')]})
    assert digest == expected[-1]


def test_signal_to_one_rank_stops_both(two, tmp_path):
    whole = two('whole', None, classify=True)
    # The wish travels with the exchange of the next step.
    for point, step, stopped in [('after_train_iter', 2, 4), ('after_val_iter', 5, 5)]:
        code, reached, _, _ = two(f'run{step}', Interrupt(point, step), classify=True)
        assert (code, reached) == (143, stopped)
        assert Path(tmp_path, f'run{step}', f'iter_{stopped}.pth').exists()
        assert two(f'run{step}', None, {'resume': True}, classify=True) == whole


def test_a_probe_stopped_in_mid_epoch_ends_with_the_same_statistics(two):
    """The head's BatchNorm sees other images in each process; a checkpoint holds their mean."""
    probe = {
        'model.head.norm': 'batch',
        'model.trainable_blocks': 0,
        'model.encoder.trainable_pos': False,
        'optim_wrapper.paramwise_cfg': None,
    }
    whole = two('whole', None, probe, classify=True)
    code, reached, _, _ = two('run', Interrupt('after_train_iter', 1), probe, classify=True)
    assert (code, reached) == (143, 3)  # of five steps an epoch
    assert two('run', None, {**probe, 'resume': True}, classify=True) == whole


def losses(folder):
    """The loss of each step, by the newest log of a work dir; each step was done once."""
    log = sorted(folder.glob('*/vis_data/scalars.json'))[-1]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    pairs = [(line['step'], line['loss']) for line in lines if 'loss' in line]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


class CountGraphs(Hook):
    """How many graphs have been compiled after each epoch of training and validation."""

    def __init__(self, file):
        self.file, self.counts = file, []

    def after_train_epoch(self, runner):
        self.counts.append(counters['stats']['unique_graphs'])

    def after_val_epoch(self, runner, metrics=None):
        self.after_train_epoch(runner)

    def after_train(self, runner):
        self.file.write_text(json.dumps(self.counts))


DEEPER = {'model.decoder.depth': 3}
ODD_VALIDATION = {'val_dataloader.batch_size': 16}  # 25 images a process


@pytest.mark.parametrize(
    ('classify', 'changes', 'expected'),
    [
        # A block of the encoder, one of the decoder, and its last one.
        (False, DEEPER, [3, 3]),
        # All rates of drop path, and in evaluation, whose last batch runs uncompiled.
        (True, ODD_VALIDATION, [1, 2, 2, 2]),
    ],
    ids=['pre-training', 'fine-tuning'],
)
def test_the_graphs_of_two_processes(two, tmp_path, classify, changes, expected):
    hook = CountGraphs(tmp_path / 'graphs')
    changes = {**changes, 'compile': dict(backend='aot_eager')}
    assert two('compiled', hook, changes, classify=classify)[:2] == (0, 10)
    trial = 1  # of the compiler
    assert json.loads(hook.file.read_text()) == [trial + count for count in expected]


def test_copies_of_weights_leave_the_bits_as_they_are(two):
    changes = {'optim_wrapper.amp': 'bfloat16', 'train_dataloader.batch_size': 8}  # accumulated
    found = [
        two(f'copies-{copies}', None, {**changes, 'optim_wrapper.weight_copies': copies})
        for copies in (False, True)
    ]
    assert found[0] == found[1]
    assert found[0][:2] == (0, 10)


def test_a_batch_that_two_processes_do_not_divide(two, make_runner, tmp_path):
    odd = {'global_batch_size': 33, 'train_dataloader.batch_size': 33, 'train_cfg.max_epochs': 2}
    make_runner('one', odd).train()
    few = {**odd, 'train_dataloader.batch_size': 8}  # six parts of five or six
    assert two('two', changes=few)[:2] == (0, 8)
    # Stopped in two processes, and continued in one.
    assert two('both', Interrupt('after_train_iter', 2), changes=few)[:2] == (143, 4)
    make_runner('both', {**odd, 'resume': True}).train()
    expected = losses(tmp_path / 'one')
    assert len(expected) == 8
    assert losses(tmp_path / 'two') == pytest.approx(expected, rel=1e-5)
    assert losses(tmp_path / 'both') == pytest.approx(expected, rel=1e-5)
