"""`tools/protocol.py` in small: killed in the middle, continued, and the user's mistakes."""

import importlib.util
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mae.apis.cli import run_command

pytestmark = pytest.mark.timeout(240)  # two starts and thirteen runs

ROOT = Path(__file__).resolve().parents[2]
PRETRAIN = next((ROOT / 'configs' / 'demo').glob('mae_vit-mini-p4_1xb*_digits-16.py')).stem
EPOCHS = 3
SMALL = [
    *(f'train_cfg.max_epochs={EPOCHS}', 'param_scheduler.warmup_epochs=1'),
    *('train_cfg.val_interval=3', 'default_hooks.checkpoint.interval=1'),
    *('model.encoder.arch.embed_dim=16', 'model.encoder.arch.depth=2'),
]
ARGUMENTS = ['--data', 'nowhere', '--seeds', '1', '--cores', '1', '--cfg-options', *SMALL]
FORK = multiprocessing.get_context('fork')
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
ROWS = ['k-NN', 'linear probe', 'partial, no block', 'partial, half a block', 'partial, 1 block']
ROWS += ['partial, 2 blocks', 'partial, all blocks', 'fine-tuned, 1 % of the labels']
ROWS += ['fine-tuned, 10 % of the labels', 'fine-tuned, 100 % of the labels', 'from scratch']


def load_tool():
    spec = importlib.util.spec_from_file_location('protocol_tool', ROOT / 'tools' / 'protocol.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder):
    """The command in this process, as the leader of a session of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    for number, name in (1, 'stdout'), (2, 'stderr'):
        with open(name, 'wb') as file:
            os.dup2(file.fileno(), number)
        # Open until the process ends, as it writes there to its end.
        setattr(sys, name, open(number, 'w', buffering=1, closefd=False))  # noqa: SIM115
    run_command(lambda: load_tool().main([PRETRAIN, *ARGUMENTS]))


@pytest.fixture(scope='session')
def continued(tmp_path_factory):
    """A protocol that was killed in the middle of the linear probe, and run again.

    Both are forks, which share what this process has imported.
    """
    folder = tmp_path_factory.mktemp('protocol')
    work_dir = folder / 'work_dirs' / 'protocol' / PRETRAIN
    first = FORK.Process(target=run, args=(folder,))
    first.start()
    while not (work_dir / 'linear-seed0' / 'last_checkpoint').exists():
        assert first.exitcode is None, (folder / 'stderr').read_text()
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.join()
    before = {path.parent.name: path.stat().st_mtime_ns for path in work_dir.glob('*/result.json')}
    second = FORK.Process(target=run, args=(folder,))
    second.start()
    second.join(200)
    output, errors = ((folder / name).read_text() for name in ('stdout', 'stderr'))
    assert second.exitcode == 0, output[-2000:] + errors[-4000:]
    return SimpleNamespace(work_dir=work_dir, before=before, output=output, errors=errors)


def test_finished_runs_are_not_repeated(continued):
    assert set(continued.before) == {'pretrain', 'scratch-seed0', 'knn'}
    for name, written in continued.before.items():
        path = continued.work_dir / name / 'result.json'
        assert path.stat().st_mtime_ns == written
        assert json.loads(path.read_text())['sessions'] == 1


def test_cut_run_is_resumed(continued):
    folder = continued.work_dir / 'linear-seed0'
    assert json.loads((folder / 'result.json').read_text())['sessions'] == 2
    assert 'resumed' in (folder / 'console.log').read_text()
    assert (folder / 'last_checkpoint').read_text().endswith(f'epoch_{EPOCHS}.pth')


def test_table_is_complete(continued):
    table = json.loads((continued.work_dir / 'protocol.json').read_text())
    assert [row['title'] for row in table['rows']] == ROWS
    assert all(0 < row['mean'] == row['top1'][0] <= 100 for row in table['rows'])
    assert all(row['std'] is None and row['seconds'] > 0 for row in table['rows'])
    assert table['pretrain']['config'] == PRETRAIN
    assert table['pretrain']['loss'] > 0
    spent = sum({row['key']: row['seconds'] for row in table['rows']}.values())
    assert table['seconds'] == pytest.approx(spent + table['pretrain']['seconds'])
    assert table['command'].endswith(SMALL[-1])


def test_pages_and_the_terminal_say_the_same(continued):
    page = (continued.work_dir / 'protocol.html').read_text()
    markdown = (continued.work_dir / 'protocol.md').read_text()
    for title in ROWS:
        assert title.replace(' %', '&nbsp;%') in page or title in page
        assert title in markdown
    assert 'k-NN' in continued.output
    assert 'protocol.md' in continued.output


def test_data_that_nobody_reads_is_said(continued):
    assert continued.errors.count('warning: --data has no effect') == 1


# --- the user's mistakes --------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """refused(*arguments) is the one line that the user sees; nothing may have been begun."""
    monkeypatch.chdir(tmp_path)
    module = load_tool()

    def call(*arguments):
        stderr = io.StringIO()
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            with redirect_stderr(stderr), pytest.raises(SystemExit) as end:
                run_command(lambda: module.main([*map(str, arguments)]))
        finally:
            signal.signal(signal.SIGTERM, terminate)
        assert end.value.code == 1
        (line,) = stderr.getvalue().splitlines()
        assert line.startswith('error: ')
        assert not (tmp_path / 'work_dirs').exists()
        return line

    return call


def test_unknown_config(refused):
    assert PRETRAIN in refused(PRETRAIN.replace('mini', 'mimi'))


def test_unknown_architecture(refused, tmp_path):
    path = tmp_path / 'wide.py'
    base = str(ROOT / 'configs' / 'demo' / f'{PRETRAIN}.py')
    path.write_text(f'_base_ = {base!r}\nmodel = dict(encoder=dict(arch=dict(embed_dim=144)))\n')
    line = refused(path)
    assert 'wide.py: no evaluation configs ' in line
    assert '6 blocks of width 144' in line
    assert 'vit-large-p16' in line


def test_checkpoint_that_is_not_there(refused):
    assert 'no such checkpoint: gone.pth' in refused('gone.pth')


def test_checkpoint_without_encoder(refused, tmp_path):
    path = tmp_path / 'head.pth'
    torch.save({'state_dict': {'head.fc.weight': torch.zeros(2, 2)}}, path)
    assert f'{path} holds no encoder' in refused(path)


def test_data_root_that_is_not_there(refused):
    config = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
    line = refused(config, '--data', 'gone', '--gpus', '8')
    assert 'gone/train: no such folder; --data must name' in line


def test_imagenet_asks_for_gpus(refused, tmp_path):
    for split in ('train', 'val'):
        (tmp_path / 'in1k' / split).mkdir(parents=True)
    config = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'
    assert 'takes GPUs: give --gpus N' in refused(config, '--data', tmp_path / 'in1k')


def test_more_gpus_than_there_are(refused):
    assert '--gpus 9999: there are' in refused(PRETRAIN, '--gpus', '9999')


def test_option_that_no_config_has(refused):
    assert '--cfg-options optim.lr=1' in refused(PRETRAIN, '--cfg-options', 'optim.lr=1')


def test_help_needs_no_imports():
    begin = time.monotonic()
    text = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'protocol.py', '--help'],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - begin < 4
    assert 'few-shot' in text.stdout
