"""A run is a pure function of its config and its step: workers and micro-batches leave no mark."""

import os

import pytest
import torch
from mmengine.hooks import Hook


class Recorder(Hook):
    """Sample ids, pixels after the crop, masks and loss of each step."""

    def __init__(self):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        batch = {k: torch.cat([b[k] for b in data_batch]) for k in ('ids', 'inputs', 'keys')}
        model = runner.model
        mask = model.masker(model.encoder.grid_size, batch['keys'])
        self.steps.append([batch['ids'], batch['inputs'], mask.ids_keep, mask.ids_hide])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps[-1].append(outputs['loss'])


def first_20_steps(make_runner, name, **changes):
    pipeline = [dict(type='RandomResizedCrop', size=8), dict(type='RandomFlip')]
    options = {
        'train_cfg.max_epochs': 4,
        'train_dataloader.dataset.pipeline': [*pipeline, dict(type='PackInputs')],
        **{f'train_dataloader.{key}': value for key, value in changes.items()},
    }
    runner = make_runner(name, options)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert len(recorder.steps) == 20
    return recorder.steps


@pytest.fixture(scope='module')
def seen():
    return {}


@pytest.mark.parametrize(
    'changes',
    [
        dict(num_workers=1, persistent_workers=True),
        dict(num_workers=4, persistent_workers=True),
        dict(num_workers=4, persistent_workers=False),
        dict(batch_size=8),
    ],
    ids=['1 worker', '4 workers', '4 fresh workers', 'accumulation'],
)
def test_first_20_steps_are_the_same(make_runner, seen, changes):
    if 'reference' not in seen:
        seen['reference'] = first_20_steps(make_runner, 'reference', num_workers=0)
    steps = first_20_steps(make_runner, 'other', **changes)
    for step, reference in zip(steps, seen['reference'], strict=True):
        *exact, loss = zip(step, reference, strict=True)
        assert all(torch.equal(a, b) for a, b in exact)
        torch.testing.assert_close(*loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize('given', [None, ':16:8'])
def test_cublas_is_asked_for_the_same_bits(make_runner, monkeypatch, given):
    """Without it some versions of torch refuse every product on a GPU."""
    name, before = 'CUBLAS_WORKSPACE_CONFIG', torch.backends.cudnn.deterministic
    monkeypatch.setenv(name, given or 'to be restored')
    if given is None:
        monkeypatch.delenv(name)
        make_runner('plain')
        assert name not in os.environ
    try:
        make_runner('run', {'randomness.deterministic': True})
        assert os.environ[name] == (given or ':4096:8')
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = before
