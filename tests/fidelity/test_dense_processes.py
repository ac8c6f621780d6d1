"""Segmentation and detection on one and two processes: the same samples, and the same losses."""

from copy import deepcopy

import pytest
import torch
from mmengine.hooks import Hook

from mae.utils.errors import ConfigError
from tests.engine.conftest import tiny_runner
from tests.engine.dense import FREE_OF_BATCHES, changes_of


class Seen(Hook):
    """Of each step: a hash of all that belongs to each sample, by id and key; and the losses."""

    def __init__(self):
        self.samples, self.losses = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        (batch,) = data_batch
        parts = [batch['inputs'].flatten(1), batch['shapes'], batch['originals']]
        if 'counts' in batch:
            parts += [columns(batch, name) for name in ('boxes', 'classes', 'crowd', 'areas')]
            parts.append(cut(batch['masks'], batch['counts'] * packed(batch['mask_sizes'])))
        else:
            parts.append(cut(batch['maps'], batch['map_sizes'].prod(dim=1)))
        keys = zip(batch['ids'].tolist(), batch['keys'].tolist(), strict=True)
        contents = [[some[n].flatten().tolist() for some in parts] for n in range(len(parts[0]))]
        self.samples.append(dict(zip(keys, contents, strict=True)))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: float(value) for name, value in outputs.items()})


def cut(flat, lengths):
    return flat.split(lengths.tolist())


def columns(batch, name):
    return cut(batch[name], batch['counts'])


def packed(sizes):
    """Bytes of a mask."""
    return sizes[:, 0] * ((sizes[:, 1] + 7) // 8)


@pytest.mark.parametrize('kind', ['segmenter', 'detector'])
def test_two_processes_train_as_one(kind, tmp_path, processes):
    changes = changes_of(kind, **FREE_OF_BATCHES[kind]) | {
        'train_cfg.max_epochs': 1,
        'launcher': 'pytorch',
        'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', momentum=0.9),
    }

    def train(number):
        changes['train_dataloader']['batch_size'] = 4 // number
        runner, seen = tiny_runner(tmp_path / f'of{number}', deepcopy(changes)), Seen()
        runner.register_hook(seen)
        runner.train()
        return seen.samples, seen.losses

    ((samples, losses),) = processes(1, lambda: train(1))
    (first, found), (second, also_found) = processes(2, lambda: train(2))
    assert [len(step) for step in samples] == [4, 4, 2]
    assert [a | b for a, b in zip(first, second, strict=True)] == samples
    assert found == also_found
    # Gradients are summed in another order; the first step has none before it.
    assert found[0] == pytest.approx(losses[0], rel=1e-5)
    for one, other in zip(losses, found, strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in losses)


def test_batch_norms_of_two_cpu_processes_are_not_synchronised(tmp_path, processes):
    changes = changes_of('segmenter', launcher='pytorch', sync_bn='torch')
    changes['train_dataloader']['batch_size'] = 2

    def build():
        with pytest.raises(ConfigError, match='on 2 CPU processes set sync_bn=None'):
            tiny_runner(tmp_path / 'run', deepcopy(changes))
        return 'refused'

    assert list(processes(2, build)) == ['refused', 'refused']
