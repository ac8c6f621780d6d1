"""What one of two processes meets, both act on: signals and bad numbers."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

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
