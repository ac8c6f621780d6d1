"""What evaluation asks of a run, without a run: pixels as features."""

import json
import multiprocessing
import os
import sys
import traceback
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

import mae.evaluation

assert mae.evaluation


class Pixels(torch.nn.Module):
    """A model whose features are its images."""

    def data_preprocessor(self, batch, training):
        assert not training
        return {**batch, 'inputs': batch['inputs'].double() + 0.1}

    def extract_features(self, images, pool):
        return images.flatten(1)


@pytest.fixture
def loader():
    def build(images, labels, batch_size=50):
        def collate(samples):
            inputs, labels = zip(*samples, strict=True)
            return {'inputs': torch.stack(inputs), 'labels': torch.stack(labels)}

        return DataLoader(TensorDataset(images, labels), batch_size, collate_fn=collate)

    return build


@pytest.fixture
def runner():
    """Notes the names of the hooks called; a loader is built already."""
    hooks = []
    return SimpleNamespace(
        model=Pixels(),
        seed=0,
        hooks=hooks,
        call_hook=lambda name, **options: hooks.append(name),
        build_dataloader=lambda loader, seed: loader,
    )


@pytest.fixture
def on_two(tmp_path):
    """on_two(function) calls function(rank) in two processes of a group; what each returns."""

    def child(rank, function):
        store = f'file://{tmp_path}/store'
        timeout = timedelta(seconds=60)
        dist.init_process_group('gloo', store, rank=rank, world_size=2, timeout=timeout)
        try:
            (tmp_path / f'{rank}.json').write_text(json.dumps(function(rank)))
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def run(function):
        context = multiprocessing.get_context('fork')
        pair = [context.Process(target=child, args=(rank, function)) for rank in (0, 1)]
        for process in pair:
            process.start()
        for process in pair:
            process.join()
        assert [process.exitcode for process in pair] == [0, 0]
        return [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)]

    return run
