"""Copies of weights, written once a step: the bits of a run are those of autocast's own casts."""

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mae.engine.optim import StepOptimWrapper
from mae.engine.optim.weight_copies import WeightCopies
from mae.models.layers.linear import AmpLinear
from mae.utils import precision
from mae.utils.digest import weights_sha256
from mae.utils.errors import ConfigError
from tests.forked import forked


@pytest.fixture(autouse=True)
def _silent_about_this_cpu(monkeypatch):
    monkeypatch.setattr(precision, 'cpu_computes_bfloat16', lambda: True)


class Losses(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))


def train(make_runner, folder, copies, changes=(), classify=False):
    """Losses and digest of the weights of two epochs of five steps, each in two micro-batches."""
    usual = {
        'train_cfg.max_epochs': 2,
        'train_dataloader.batch_size': 16,
        'optim_wrapper.amp': 'bfloat16',
        'optim_wrapper.weight_copies': copies,
    }
    runner = make_runner(folder, {**usual, **dict(changes)}, classify)
    hook = Losses()
    runner.register_hook(hook)
    runner.train()
    layers = [layer for layer in runner.model.modules() if isinstance(layer, AmpLinear)]
    assert layers
    assert all(layer.weight_copies is None for layer in layers)  # none outlives its step
    return hook.losses, weights_sha256(runner.bare_model.state_dict())


def test_a_run_and_its_continuation_have_the_same_bits(make_runner, tmp_path):
    recomputed = {f'model.{part}.recompute': 'blocks' for part in ('encoder', 'decoder')}
    losses, digest = train(make_runner, 'cast', False, recomputed)
    assert len(losses) == 10
    assert train(make_runner, 'copied', True, recomputed) == (losses, digest)
    middle = {'resume': True, 'load_from': str(tmp_path / 'cast' / 'epoch_1.pth')}
    assert train(make_runner, 'rest', True, {**recomputed, **middle}) == (losses[5:], digest)


def test_validation_of_averages_in_between_changes_nothing(make_runner):
    changes = {'custom_hooks': [dict(type='EMAHook')]}  # swaps the weights for each validation
    expected = train(make_runner, 'cast', False, changes, classify=True)
    assert train(make_runner, 'copied', True, changes, classify=True) == expected


@forked
def test_compiled_blocks_compute_with_them(make_runner):
    changes = {'compile': dict(backend='aot_eager'), 'train_cfg.max_epochs': 1}
    changes['param_scheduler.warmup_epochs'] = 0
    expected = train(make_runner, 'cast', False, changes)
    assert train(make_runner, 'copied', True, changes) == expected


class Casts(TorchDispatchMode):
    """How often what is as large as `weight` is cast, and how often many copies are written."""

    def __init__(self, weight):
        super().__init__()
        self.size, self.casts, self.writes = weight.numel(), 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and out.numel() == self.size:
            self.casts += out.dtype == torch.bfloat16
        self.writes += func is torch.ops.aten._foreach_copy_.default
        return out


@pytest.mark.parametrize(('copies', 'casts', 'writes'), [(False, 3, 0), (None, 3, 0), (True, 0, 1)])
def test_a_step_writes_once_what_each_pass_would_cast(copies, casts, writes):
    model = AmpLinear(31, 37)
    optimizer = torch.optim.AdamW(model.parameters())
    wrapper = StepOptimWrapper(optimizer, amp='bfloat16', weight_copies=copies)
    before = model.weight.detach().clone()
    with Casts(model.weight) as seen:
        wrapper.begin_step([1 / 3] * 3)
        for _ in range(3):
            with wrapper.optim_context(model):
                loss = model(torch.ones(2, 31)).float().square().sum()
            wrapper.update_params(loss)
    assert (seen.casts, seen.writes) == (casts, writes)
    assert not torch.equal(model.weight, before)
    assert model.weight.dtype == torch.float32


def test_of_weights_that_are_cut_into_parts_there_are_none():
    """As of a wrapper that shards them."""
    model = AmpLinear(4, 3)
    assert WeightCopies.of(model, torch.bfloat16, required=True) is not None
    model.weight = nn.Parameter(model.weight.detach().flatten()[:6])
    assert WeightCopies.of(model, torch.bfloat16, required=False) is None
    with pytest.raises(ConfigError, match=r'weight_copies=True: the wrapper .* only a part'):
        WeightCopies.of(model, torch.bfloat16, required=True)


def test_copies_that_cannot_be_are_refused_in_a_line():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(ConfigError, match=r"weight_copies=True needs amp, such as 'bfloat16'$"):
        StepOptimWrapper(optimizer, weight_copies=True)
    wrapper = StepOptimWrapper(optimizer, amp='bfloat16', weight_copies=True)
    with pytest.raises(ConfigError, match='weight_copies=True: no layer of the model'):  # noqa: SIM117
        with wrapper.optim_context(model):
            pass
