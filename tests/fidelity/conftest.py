"""Shipped recipes run by the real runner, made small; several processes of one machine."""

import itertools
import json
import math
import multiprocessing
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mae import datasets, evaluation, models  # noqa: F401  (register what configs name)
from mae.apis import load_config
from mae.engine import Runner

TESTS = Path(__file__).parents[1]
PRETRAIN = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
FINETUNE = 'vit-mini-p4_ft-1xb50-coslr-80e_digits-16'
KNN = 'vit-mini-p4_knn-1xb360_digits-16'
SMALL = {'model.encoder.arch': dict(embed_dim=32, depth=2, num_heads=2)}

_numbers = itertools.count()


@pytest.fixture(scope='session')
def demo():
    """Names of the shipped configs on digits, and what makes their encoder small."""
    return dict(pretrain=PRETRAIN, finetune=FINETUNE, knn=KNN, small=SMALL)


@pytest.fixture(scope='session')
def parity():
    """parity('timm') is the module that compares single passes: its maps of names are used here."""

    def load(name):
        path = TESTS / 'parity' / f'test_{name}.py'
        spec = spec_from_file_location(f'parity_{name}', path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope='session')
def rate():
    """The learning rate of the recipes at a fractional epoch: pre-training, section 1."""

    def closed_formula(epoch, *, lr, warmup, epochs, floor=0.0):
        if epoch < warmup:
            return lr * epoch / warmup
        share = (epoch - warmup) / (epochs - warmup)
        return floor + (lr - floor) * 0.5 * (1 + math.cos(math.pi * share))

    return closed_formula


@pytest.fixture(scope='module')
def make_runner(tmp_path_factory):
    """make_runner(config, options, folder=...) builds the runner of a shipped config."""

    def make(config, options, folder=None):
        cfg = load_config(config, options)
        cfg.work_dir = str(folder or tmp_path_factory.mktemp('run'))
        # mmengine keeps one visualizer and message hub per name of an experiment.
        cfg.experiment_name = f'fidelity{next(_numbers)}'
        return Runner.from_cfg(cfg)

    return make


@pytest.fixture(scope='session')
def scalars():
    """scalars(work_dir, name) reads the values written of one name, by step."""

    def read(work_dir, name):
        (path,) = Path(work_dir).rglob('vis_data/scalars.json')
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {row['step']: row[name] for row in rows if name in row}

    return read


@pytest.fixture
def processes(tmp_path):
    """processes(n, function) calls `function` in n processes joined by gloo; their results.

    Forked, so that nothing is imported anew: what they run needs no thread of this process.
    """
    context = multiprocessing.get_context('fork')

    def work(function, rank, world_size, store, results):
        torch.set_num_threads(1)
        dist.init_process_group(
            'gloo', init_method=f'file://{store}', rank=rank, world_size=world_size
        )
        try:
            results.put((rank, function(), None))
        except Exception:
            results.put((rank, None, traceback.format_exc()))
            raise
        dist.barrier()
        dist.destroy_process_group()

    def call(world_size, function):
        results, store = context.Queue(), tmp_path / f'store{next(_numbers)}'
        workers = [
            context.Process(target=work, args=(function, rank, world_size, store, results))
            for rank in range(world_size)
        ]
        for worker in workers:
            worker.start()
        try:
            found = {}
            for _ in workers:
                rank, result, error = results.get(timeout=60)
                assert error is None, f'process {rank} of {world_size}: {error}'
                found[rank] = result
        finally:
            for worker in workers:
                worker.join(timeout=10)
                worker.kill()
        return [found[rank] for rank in range(world_size)]

    return call
