"""What one of two processes meets, both act on: signals and bad numbers."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch._dynamo.utils import counters

from mae.registry import HOOKS
from tests.engine.processes import Interrupt, losses


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
            runner.bare_model.encoder.norm.register_forward_hook(self._spoil_gradient(runner))

    def _spoil_gradient(self, runner):
        def hook(module, arguments, output):
            output.register_hook(lambda g: g * torch.nan if runner.iter == self.step else None)

        return hook


@HOOKS.register_module()
class LeaveOutStep6(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        runner.train_loop.left_out = [(6, 7)]


@pytest.mark.parametrize(('loss', 'parallel'), [(True, 'ddp'), (False, 'ddp'), (False, 'fsdp')])
def test_bad_numbers_on_one_rank_are_skipped_on_both(together, loss, parallel):
    changes = {'parallel': dict(type=parallel)}
    code, step, bad, digest = together('run', Spoil(6, loss), changes)
    assert (code, step, bad) == (0, 10, 1)
    without = {**changes, 'custom_hooks': [dict(type='LeaveOutStep6')]}
    expected = together('without', None, without)
    assert digest == expected[-1]


def test_signal_to_one_rank_stops_both(together, tmp_path):
    whole = together('whole', None, classify=True)
    # The wish travels with the exchange of the next step.
    for point, step, stopped in [('after_train_iter', 2, 4), ('after_val_iter', 5, 5)]:
        code, reached, _, _ = together(f'run{step}', Interrupt(point, step), classify=True)
        assert (code, reached) == (143, stopped)
        assert Path(tmp_path, f'run{step}', f'iter_{stopped}.pth').exists()
        assert together(f'run{step}', None, {'resume': True}, classify=True) == whole


def test_a_probe_stopped_in_mid_epoch_ends_with_the_same_statistics(together):
    """The head's BatchNorm sees other images in each process; a checkpoint holds their mean."""
    probe = {
        'model.head.norm': 'batch',
        'model.trainable_blocks': 0,
        'model.encoder.trainable_pos': False,
        'optim_wrapper.paramwise_cfg': None,
    }
    whole = together('whole', None, probe, classify=True)
    code, reached, _, _ = together('run', Interrupt('after_train_iter', 1), probe, classify=True)
    assert (code, reached) == (143, 3)  # of five steps an epoch
    assert together('run', None, {**probe, 'resume': True}, classify=True) == whole


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
        # A block of the encoder, one of the decoder, and its last one; target and loss.
        (False, DEEPER, [5, 5]),
        # All rates of drop path, and in evaluation, whose last batch runs uncompiled.
        (True, ODD_VALIDATION, [1, 2, 2, 2]),
    ],
    ids=['pre-training', 'fine-tuning'],
)
def test_the_graphs_of_two_processes(together, tmp_path, classify, changes, expected):
    hook = CountGraphs(tmp_path / 'graphs')
    changes = {**changes, 'compile': dict(backend='aot_eager')}
    assert together('compiled', hook, changes, classify=classify)[:2] == (0, 10)
    trial = 1  # of the compiler
    assert json.loads(hook.file.read_text()) == [trial + count for count in expected]


def test_copies_of_weights_leave_the_bits_as_they_are(together):
    changes = {'optim_wrapper.amp': 'bfloat16', 'train_dataloader.batch_size': 8}  # accumulated
    found = [
        together(f'copies-{copies}', None, {**changes, 'optim_wrapper.weight_copies': copies})
        for copies in (False, True)
    ]
    assert found[0] == found[1]
    assert found[0][:2] == (0, 10)


def test_a_batch_that_two_processes_do_not_divide(together, tmp_path):
    odd = {'global_batch_size': 33, 'train_dataloader.batch_size': 33, 'train_cfg.max_epochs': 2}
    assert together('one', changes=odd, world=1)[0] == 0
    few = {**odd, 'train_dataloader.batch_size': 8}  # six parts of five or six
    assert together('two', changes=few)[:2] == (0, 8)
    # Stopped in two processes, and continued in one.
    assert together('both', Interrupt('after_train_iter', 2), changes=few)[:2] == (143, 4)
    assert together('both', changes={**odd, 'resume': True}, world=1)[0] == 0
    expected = losses(tmp_path / 'one')
    assert len(expected) == 8
    assert losses(tmp_path / 'two') == pytest.approx(expected, rel=1e-5)
    assert losses(tmp_path / 'both') == pytest.approx(expected, rel=1e-5)
