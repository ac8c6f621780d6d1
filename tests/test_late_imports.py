"""Command lines answer before torch is imported; public names come when they are used."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.registry import OPTIMIZERS

import mae.apis

ROOT = Path(__file__).parents[1]


def run(*words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(', "mine.py:1: '(' was never closed"),
        ("_base_ = 'default_runtim.py'", 'no such _base_ file: default_runtim.py'),
        ('x = 1 / 0', 'ZeroDivisionError: division by zero'),
        (None, 'no such config: '),
    ],
)
def test_a_config_that_cannot_be_read_is_an_error_without_torch(tmp_path, text, message):
    config = tmp_path / 'mine.py'
    if text is not None:
        config.write_text(text)
    start = """
import runpy, sys
sys.argv = ['tools/train.py', {config!r}]
try:
    runpy.run_path('tools/train.py', run_name='__main__')
except SystemExit as end:
    print(end.code, [name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])
"""
    _, stdout, stderr = run('-c', start.format(config=str(config)))
    assert stdout == f'reading {config}\n1 []\n'
    (line,) = stderr.splitlines()
    assert line.startswith('error: ')
    assert message in line


def test_the_launcher_does_without_fsdp_and_mmengine_without_transformers():
    code = """
import sys
import mae.fault_tolerance.launcher
print('torch' in sys.modules, 'torch.distributed.fsdp' in sys.modules)
import mmengine.optim
print('torch.distributed.fsdp' in sys.modules, 'transformers' in sys.modules)
"""
    assert run('-c', code)[1] == 'True False\nTrue False\n'


def test_the_optimizer_of_transformers_is_there_when_it_is_named():
    transformers = pytest.importorskip('transformers')
    weight = torch.nn.Parameter(torch.ones(2))
    built = OPTIMIZERS.build(dict(type='Adafactor', params=[weight], lr=1e-3, relative_step=False))
    assert isinstance(built, transformers.Adafactor)
    assert built.defaults['lr'] == 1e-3


def test_public_names():
    assert set(mae.apis.__all__) <= set(dir(mae.apis))
    for name in mae.apis.__all__:
        assert callable(getattr(mae.apis, name))
    module = import_module('mae.apis.reconstruct')  # a function has its name
    assert mae.apis.reconstruct is module.reconstruct
    with pytest.raises(AttributeError, match=r"module 'mae\.apis' has no attribute 'trian'"):
        _ = mae.apis.trian
    with pytest.raises(ImportError):
        from mae.apis import trian  # noqa: F401
