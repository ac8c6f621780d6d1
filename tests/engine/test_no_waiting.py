"""Between the lines of the log no step asks a tensor for its value, which waits for a GPU.

A CPU has nothing to wait for, so the questions themselves are watched: each operation that hands a
value to Python, and who asked.
"""

import traceback
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils._python_dispatch import TorchDispatchMode

from mae.fault_tolerance.step_report import Reports

ATEN = torch.ops.aten
# `item`, `float`, `bool` and `int` come down to the first; the others have results whose shape or
# value is known only once the values are.
OPERATIONS = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.equal.default,
}
METHODS = ('tolist', 'numpy', 'cpu')  # that a tensor of the CPU answers without an operation
ALLOWED = {
    'step_report._read': 'two steps later, of a copy that arrived meanwhile',
    'hashing.derive': 'of a seed, which never leaves the host',
    'augment.__call__': 'of keys and a seed, which never leave the host',
    'image.check_labels': 'of labels, before they are copied',
    'block.forward': "of drop path's draw on the host",
    'averaged_model.update_parameters': 'of a count of steps, which mmengine keeps on the host',
    'ema.after_train_iter': 'of the same count',
    'ema.update_average': 'of the same count',
}


class Questions(TorchDispatchMode, Hook):
    """Who asks, as `module.function`, in steps after which no line of the log is due."""

    priority = 'LOWEST'

    def __init__(self, monkeypatch):
        super().__init__()
        self.asked = set()
        self.steps = 0
        self._listens = False
        for name in METHODS:
            monkeypatch.setattr(torch.Tensor, name, self._watched(getattr(torch.Tensor, name)))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in OPERATIONS:
            self._note()
        return func(*args, **(kwargs or {}))

    def before_train(self, runner):
        runner.train_loop.reports = Reports(2)
        runner.optim_wrapper.skips_on_device = True

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._listens = batch_idx + 1 < len(runner.train_dataloader)
        self.steps += self._listens

    def after_step(self, runner):
        self._listens = False  # samples are read next, on the host

    def _watched(self, method):
        def call(*args, **kwargs):
            self._note()
            return method(*args, **kwargs)

        return call

    def _note(self):
        if not self._listens:
            return
        frames = [
            f
            for f in traceback.extract_stack()
            if '/torch/' not in f.filename and f.filename != __file__
        ]
        self.asked.add(f'{Path(frames[-1].filename).stem}.{frames[-1].name}')


def train(make_runner, monkeypatch, classify, *hooks):
    """Two epochs of five steps with all hooks of a run, as if the optimizer were on a GPU."""
    changes = {
        'train_cfg.max_epochs': 2,
        'default_hooks.logger.interval': 100,
        'default_hooks.bad_samples': dict(type='BadSamplesHook'),
        'default_hooks.run_report': dict(type='RunReportHook', seconds=0.0),
        'default_hooks.progress': dict(type='ProgressHook'),
        'custom_hooks': [dict(type='EMAHook')],
        'optim_wrapper.optimizer.fused': True,
        'optim_wrapper.clip_grad': dict(max_norm=1.0),
        'optim_wrapper.skip_nonfinite': False,  # on a CPU the host looks at once
    }
    runner = make_runner(f'run{len(hooks)}', changes, classify)
    questions = Questions(monkeypatch)
    for hook in hooks:
        runner.register_hook(hook)
    runner.register_hook(questions)
    with questions:
        runner.train()
    assert questions.steps == 8
    return questions.asked


@pytest.mark.parametrize('classify', [False, True], ids=['MAE', 'classifier'])
def test_no_step_waits(make_runner, monkeypatch, classify):
    asked = train(make_runner, monkeypatch, classify)
    assert 'step_report._read' in asked  # somebody does ask, and is seen
    assert asked <= set(ALLOWED)


WAYS = {
    'item': lambda loss: loss.item(),
    'float': float,
    'condition': lambda loss: 1 if loss > 0 else 0,
    'list': lambda loss: loss.tolist(),
    'copy': lambda loss: loss.cpu(),
    'array': lambda loss: loss.detach().numpy(),
    'nonzero': lambda loss: loss.reshape(1).nonzero(),
}


@pytest.mark.parametrize('way', WAYS)
def test_a_hook_that_waits_would_be_seen(make_runner, monkeypatch, way):
    class Curious(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            WAYS[way](outputs['loss'])

    asked = train(make_runner, monkeypatch, False, Curious())
    assert not asked <= set(ALLOWED)
