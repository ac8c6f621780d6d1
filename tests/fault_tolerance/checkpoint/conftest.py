"""Checkpoints of a few numbers, and work dirs that hold some."""

from types import SimpleNamespace

import pytest
import torch

from mae.fault_tolerance.checkpoint.save import Pruner, commit

STEPS = 5  # in an epoch


def content(step, *, finite=True):
    weights = torch.arange(40.0) + step
    if not finite:
        weights[3] = float('nan')
    return {
        'meta': {'step': step, 'epoch': step // STEPS, 'world_size': 1, 'cfg': {'a': [1, None]}},
        'state_dict': {'w': weights, 'tied': weights},
        'optimizer': {'state': {0: {'step': torch.tensor(float(step))}}},
        'param_schedulers': [],
    }


@pytest.fixture
def tiny(tmp_path):
    """tiny.save(step) commits a checkpoint in `tiny.folder` as the hook does."""
    pruner = Pruner(2)

    def save(step, name=None, prune=True, start=None, **options):
        path = tmp_path / (name or f'iter_{step}.pth')
        commit(content(step, **options), path, pruner if prune else None, start)
        return path

    return SimpleNamespace(folder=tmp_path, save=save, content=content)
