"""`tools/train.py` and `tools/test.py`: what their arguments do; imports of all tools."""

import ast
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def logged(work_dir):
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize('path', sorted(TOOLS.rglob('*.py')), ids=lambda path: path.stem)
def test_late_imports_are_found(path):
    """Tools import inside functions and below `__main__`, where a renamed function shows late."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mae'):
            module = import_module(node.module)
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or import_module(f'{node.module}.{name}')


@pytest.mark.parametrize('name', ['train', 'test'])
def test_help_needs_no_imports(name):
    start = time.monotonic()
    command = [sys.executable, TOOLS / f'{name}.py', '--help']
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert time.monotonic() - start < 2
    assert '--cfg-options KEY=VALUE' in text


def test_mistake_in_a_process_of_its_own(tmp_path):
    result = subprocess.run(
        [sys.executable, TOOLS / 'train.py', 'no_such_config'],
        env={**os.environ, 'PYTHONPATH': str(TOOLS.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == 'error: no such config: no_such_config'
    assert 'Traceback' not in result.stderr
    assert not list(tmp_path.iterdir())


def test_train_then_resume_then_test(train, tool, write_config, work_dir, tmp_path):
    small = '--batch-per-device', '10', '--seed', '3'
    assert train(base='ft', arguments=small).code == 0
    checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['seed'] == 3
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')

    assert train('train_cfg.max_epochs=2', base='ft', arguments=[*small, '--resume']).code == 0
    resumed = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    assert resumed['meta']['step'] == 2 * checkpoint['meta']['step']

    out = tmp_path / 'new' / 'metrics.json'
    config, weights = write_config(base='ft'), work_dir / 'epoch_2.pth'
    result = tool('test', config, weights, '--work-dir', tmp_path / 'tested', '--out', out)
    assert result.code == 0, result.stderr
    metrics = json.loads(out.read_text())
    assert set(metrics) >= {'top1', 'top5'}
    assert 0 <= metrics['top1'] <= metrics['top5'] <= 100


def test_load_from_takes_the_encoder_of_a_pre_trained_model(train, checkpoint, work_dir):
    weights = checkpoint('mae')
    options = 'base_lr=0.0', 'param_scheduler.min_lr=0.0'  # so that nothing moves
    assert train(*options, base='ft', arguments=['--load-from', weights]).code == 0
    loaded = torch.load(work_dir / 'epoch_1.pth', weights_only=True)['state_dict']
    given = torch.load(weights, weights_only=True)['state_dict']
    name = 'encoder.patch_embed.proj.weight'
    assert torch.equal(loaded[name], given[name])


def test_work_dir_is_named_after_the_config(tool, write_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tool('train', write_config()).code == 0
    assert (tmp_path / 'work_dirs' / 'small_mae' / 'epoch_1.pth').is_file()


def test_auto_scale_lr_follows_the_devices(train, work_dir):
    arguments = ['--auto-scale-lr', '--batch-per-device', '25']
    assert train('base_lr=1.0', base='ft', arguments=arguments).code == 0
    values = logged(work_dir)
    assert Config.fromfile(work_dir / 'small_ft.py').auto_scale_lr == {'enable': True}
    assert max(value.get('lr', 0) for value in values) <= 25 / 256 + 1e-6


@pytest.mark.parametrize(
    ('tool_name', 'arguments'),
    [
        ('train', ['CONFIG', '--resume', 'a.pth', '--load-from', 'b.pth']),
        ('train', ['CONFIG', '--launcher', 'mpi']),
        ('train', ['CONFIG', '--seed', 'one']),
        ('train', []),
        ('train', ['CONFIG', '--load-from', '']),
        ('train', ['CONFIG', '--resume', '']),
        ('test', ['CONFIG', '']),
        ('test', ['CONFIG']),
        ('test', ['CONFIG', 'CHECKPOINT', '--out', 'metrics.txt']),
    ],
)
def test_malformed_command_line(tool, tool_name, arguments):
    result = tool(tool_name, *arguments)
    assert result.code == 2
    assert 'usage: ' in result.stderr


def test_failed_resume_leaves_an_earlier_run_as_it_was(train, work_dir):
    assert train().code == 0
    before = sorted(work_dir.rglob('*'))
    assert train('model.encoder.patch_size=2', arguments=['--resume']).code == 1
    assert sorted(work_dir.rglob('*')) == before
