"""Comparisons so small that a test may run several."""

from multiprocessing import get_context

import pytest
import torch

import mae.datasets
import mae.models
from mae.apis import load_config
from mae.benchmark import worker
from mae.benchmark.settings import Settings

assert mae.datasets
assert mae.models

PRETRAIN = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
FINETUNE = 'vit-mini-p4_ft-1xb128-coslr-40e_digits-16'
SMALL = {'model.encoder.arch': {'embed_dim': 16, 'depth': 2, 'num_heads': 2}}
SMALL_DECODER = {'model.decoder.embed_dim': 16, 'model.decoder.num_heads': 2}


@pytest.fixture
def forked_workers(monkeypatch):
    """Workers are forked: they share this process's imports, which cost a spawned one seconds.

    A forked worker holds a copy of our end of its pipe, so that closing does not end it.
    """
    monkeypatch.setattr(worker, 'get_context', lambda method: get_context('fork'))
    monkeypatch.setattr(worker, '_GRACE', 0.0)


@pytest.fixture
def make_settings():
    """A comparison on digits; `changes` are dotted config keys."""

    def make(name=PRETRAIN, batch_size=4, changes=None, dtype=torch.float32, seed=0):
        decoder = {} if name == FINETUNE else SMALL_DECODER
        config = load_config(name, {**SMALL, **decoder, **(changes or {})})
        return Settings(config, batch_size, torch.device('cpu'), dtype, seed=seed)

    return make
