import shutil
import warnings

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn
from torch._dynamo.utils import counters

from mae.engine.compile import compile_blocks
from tests.forked import forked

# Traces and differentiates like the default, but needs no C++ compiler and no seconds for it.
TRACED = dict(backend='aot_eager')


class Graphs(Hook):
    """The loss of each step, and how many graphs have been compiled when it is done.

    Beside them the names of the weights in the checkpoint.
    """

    def __init__(self):
        self.losses, self.graphs, self.names = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))
        self.graphs.append(counters['stats']['unique_graphs'])

    def before_save_checkpoint(self, runner, checkpoint):
        self.names = list(checkpoint['state_dict'])


def run(make_runner, name, changes, classify=False):
    torch._dynamo.reset()
    counters.clear()
    hook = Graphs()
    runner = make_runner(name, {'train_cfg.max_epochs': 2, **changes}, classify)
    runner.register_hook(hook)
    runner.train()
    return hook


@forked
def test_same_losses_and_names_and_no_recompilation(make_runner):
    plain = run(make_runner, 'plain', {})
    compiled = run(make_runner, 'compiled', {'compile': TRACED})
    assert compiled.names == plain.names != []
    assert plain.graphs[-1] == 0
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-5)
    # The trial of the compiler, the encoder's blocks, and the decoder's one, of fewer queries.
    assert compiled.graphs[0] == 3
    assert set(compiled.graphs) == {compiled.graphs[0]}


# Its kernels take a C++ compiler and half a minute, so that one run stands for all.
INDUCTOR = pytest.param(
    True, 'blocks', False, marks=pytest.mark.skipif(not shutil.which('g++'), reason='no compiler')
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ('options', 'recompute', 'classify'),
    [
        INDUCTOR,
        (TRACED, 'blocks', False),
        (TRACED, 'blocks', True),
        (TRACED, 'cheap', False),
        (TRACED, 'cheap', True),
    ],
)
@forked
def test_the_same_losses_with_what_is_computed_again(make_runner, options, recompute, classify):
    """Also where blocks draw the images they leave out, which is drawn again as it was."""
    parts = ('encoder',) if classify else ('encoder', 'decoder')
    changes = {f'model.{part}.recompute': recompute for part in parts}
    usual = {
        'model.encoder.drop_path_rate': 0.5,
        'param_scheduler.warmup_epochs': 0.4,
        'train_cfg.max_epochs': 1,
    }
    kept = run(make_runner, 'kept', usual, classify)
    changes |= usual
    plain = run(make_runner, 'plain', changes, classify)
    compiled = run(make_runner, 'compiled', {**changes, 'compile': options}, classify)
    assert set(compiled.graphs) == {2 if classify else 3}  # one is the trial of the compiler
    assert len(plain.losses) == 5
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-5)
    assert plain.losses == pytest.approx(kept.losses, rel=1e-5)


@forked
def test_all_drop_path_rates_share_a_graph(make_runner):
    # Validation, which has shapes of its own, comes after the last step.
    changes = {'compile': TRACED, 'train_cfg.val_interval': 2}
    hook = run(make_runner, 'classifier', changes, classify=True)
    assert set(hook.graphs) == {2}  # one is the trial of the compiler


def test_off_by_default(make_runner):
    runner = make_runner('off', {'train_cfg.max_epochs': 2})
    runner.train()
    assert not any(block._compiled_call_impl for block in runner.bare_model.blocks())


@forked
def test_without_a_compiler_it_warns_once_and_trains(make_runner, monkeypatch, tmp_path):
    torch._dynamo.reset()
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', (None, str(tmp_path / 'no-compiler')))
    monkeypatch.setattr('torch._inductor.config.force_disable_caches', True)
    runner = make_runner('none', {'compile': True, 'train_cfg.max_epochs': 2})
    with pytest.warns(UserWarning, match=r'compile has no effect: .*working C') as caught:
        runner.train()
    assert sum('compile has no effect' in str(w.message) for w in caught) == 1
    assert runner.iter == 10


@pytest.mark.parametrize('options', [None, False])
def test_nothing_asked_nothing_done(options):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not compile_blocks([nn.Linear(2, 2)], options)


def test_no_blocks():
    with pytest.warns(UserWarning, match='names no blocks'):
        assert not compile_blocks([], options=True)
