"""Running the tools in this process: starting one anew costs seconds of imports."""

import io
import json
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.apis import init_model, load_config
from mae.apis.cli import run_command
from mae.config import shipped_configs

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
WIDTH = {'embed_dim': 16, 'depth': 1, 'num_heads': 2}
_numbers = count()


@dataclass
class Result:
    code: int
    stderr: str

    @property
    def error(self):
        """The one line that a user gets to see."""
        assert self.code == 1, self.stderr
        assert 'Traceback' not in self.stderr
        lines = [line for line in self.stderr.splitlines() if 'error:' in line]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith('error: ')
        return lines[0]


def digits(kind):
    """The shipped demo config of a kind ('mae', 'ft', 'knn'), the plainest if it has several."""
    named = [path for path in shipped_configs() if 'digits' in path.stem]
    found = [path for path in named if kind in path.stem.replace('_', '-').split('-')]
    return min(found, key=lambda path: (len(path.stem), path.stem))


@pytest.fixture(scope='session')
def tool():
    """tool('train', *arguments) runs a tool as its command line would."""

    def main_of(name):
        spec = spec_from_file_location(f'tool_{name}', TOOLS / f'{name}.py')
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    mains = {name: main_of(name) for name in ('train', 'test')}

    def call(name, *arguments):
        # mmengine keeps loggers by name, and names a run by the second it starts in.
        unique = f'experiment_name=cli-{next(_numbers)}'
        argv = [*map(str, arguments), '--cfg-options', unique]
        stderr, code = io.StringIO(), 0
        with redirect_stderr(stderr):
            try:
                run_command(lambda: mains[name](argv))
            except SystemExit as end:
                code = end.code
        return Result(code, stderr.getvalue())

    return call


@pytest.fixture
def work_dir(tmp_path):
    return tmp_path / 'work' / 'run'


@pytest.fixture
def write_config(tmp_path):
    """write_config(base, text) writes a config that makes a demo config very small."""

    def write(text='', base='mae'):
        path = tmp_path / f'small_{base}.py'
        schedule = (
            'param_scheduler = dict(warmup_epochs=0)\n'
            'train_cfg = dict(max_epochs=1, val_interval=1)\n'
        )
        path.write_text(
            f'_base_ = {str(digits(base))!r}\n'
            f'model = dict(encoder=dict(arch={WIDTH}))\n'
            f'{schedule if base != "knn" else ""}'
            f'{text}\n'
        )
        return path

    return write


@pytest.fixture
def train(tool, write_config, work_dir):
    """train(*options, text=..., base=...) trains the small config."""

    def call(*options, text='', base='mae', arguments=()):
        changes = ['--cfg-options', *options] if options else []
        config = write_config(text, base)
        return tool('train', config, '--work-dir', work_dir, *arguments, *changes)

    return call


@pytest.fixture
def images(tmp_path):
    """A folder with 8 pictures of two classes, and the text of a config that trains on it."""
    root = tmp_path / 'images'
    noise = np.random.default_rng(0)
    for index in range(8):
        path = root / f'class{index % 2}' / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (20, 20), dtype=np.uint8)).save(path)
    text = f"""
global_batch_size = 4
train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='SeededDataset',
    source=dict(type='ImageFolder', root={str(root)!r}),
    pipeline=[dict(type='DecodeImage', channels=1), dict(type='RandomResizedCrop', size=16),
              dict(type='PackInputs')]))
"""
    return root, text


@pytest.fixture
def checkpoint(tmp_path, write_config):
    """checkpoint(base) writes fresh weights of the small config."""

    def write(base='mae'):
        path = tmp_path / f'{base}.pth'
        model = init_model(load_config(write_config(base=base)))
        torch.save({'state_dict': model.state_dict()}, path)
        return path

    return write


def metrics_in(path):
    return json.loads(path.read_text())
