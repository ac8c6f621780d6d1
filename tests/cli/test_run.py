"""How a tool ends: the user's mistakes in one line, bugs with their traceback."""

import errno
import json
import os
import re
import subprocess
import sys

import pytest
import torch.distributed as dist
from torch.utils.data import DataLoader

from mae.apis import cli
from mae.apis.cli import run_command
from mae.registry import DATASETS, MODELS
from mae.utils.errors import CheckpointError, ConfigError, DataError
from tests.forked import forked


@pytest.fixture
def ended(capsys):
    """ended(error) is (exit code, stderr) of a tool in which `error` is raised."""

    def call(error):
        def main():
            raise error

        with pytest.raises(SystemExit) as end:
            run_command(main)
        return end.value.code, capsys.readouterr().err

    return call


def test_success_just_returns(capsys):
    assert run_command(lambda: print('done')) is None
    assert capsys.readouterr() == ('done\n', '')


@forked  # torch marks the tracebacks of a process that once had others
def test_other_processes_are_left_in_order(tmp_path):
    def main():
        store = f'file://{tmp_path}/store'
        dist.init_process_group('gloo', init_method=store, rank=0, world_size=1)
        assert dist.is_initialized()

    run_command(main)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ValueError('wrong'), 'wrong'),
        (ConfigError('key: wrong'), 'key: wrong'),
        (DataError('file: wrong'), 'file: wrong'),
        (CheckpointError('file: wrong'), 'file: wrong'),
        (ValueError('first\n  second\n'), 'first second'),
        (ValueError(), 'ValueError'),
        (FileNotFoundError(errno.ENOENT, 'No such file', 'x.jpg'), 'No such file: x.jpg'),
        (OSError(errno.ENOSPC, 'No space left on device'), 'No space left on device'),
        (ImportError('Please run "pip install wandb"'), 'Please run "pip install wandb"'),
        (OSError('cannot identify image file'), 'cannot identify image file'),
    ],
)
def test_mistake_of_the_user(ended, error, line):
    assert ended(error) == (1, f'error: {line}\n')


def test_name_that_no_registry_knows(ended):
    with pytest.raises(KeyError) as unknown:
        MODELS.build({'type': 'NoSuchModel'})
    code, line = ended(unknown.value)
    assert code == 1
    assert re.fullmatch(r'error: NoSuchModel is not in the \S+ registry\.\n', line)


def test_argument_that_a_class_misses(ended):
    with pytest.raises(TypeError) as missing:
        MODELS.build({'type': 'PixelTarget', 'no_such': 1})
    code, line = ended(missing.value)
    assert code == 1
    assert line.startswith('error: ')
    assert "'no_such'" in line


def test_what_a_class_of_another_library_refuses(ended, tmp_path):
    (tmp_path / 'cat').mkdir()
    folders = {'type': 'mmpretrain.CustomDataset', 'data_root': str(tmp_path)}
    with pytest.raises(AssertionError) as refused:
        DATASETS.build({**folders, 'data_prefix': '.', 'classes': ['cat', 'dog']})
    code, line = ended(refused.value)
    assert code == 1
    assert re.fullmatch(r'error: The number of subfolders \(1\) [^\n]+\n', line)


def test_interrupt(ended):
    assert ended(KeyboardInterrupt()) == (130, 'interrupted\n')


@pytest.mark.parametrize(
    'bug', [KeyError('x'), TypeError('x'), ImportError('x'), RuntimeError('x'), AssertionError()]
)
def test_bug_keeps_its_traceback(bug):
    def main():
        raise bug

    with pytest.raises(type(bug)):
        run_command(main)


def test_traceback_on_demand(ended, monkeypatch):
    monkeypatch.setenv('MAE_TRACEBACK', '1')
    code, text = ended(ValueError('wrong'))
    assert code == 1
    assert text.startswith('Traceback')
    assert text.endswith('\nerror: wrong\n')


def test_out_of_device_memory(ended):
    error = type('OutOfMemoryError', (RuntimeError,), {})
    code, line = ended(error('CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has'))
    assert code == 1
    assert line.startswith('error: CUDA out of memory; lower train_dataloader.batch_size')


def test_other_processes_wait_and_tell_their_rank(ended, monkeypatch):
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setattr(cli, '_PATIENCE', 0.0)
    assert ended(ValueError('wrong')) == (1, 'error: wrong (rank 3)\n')


def test_an_error_of_all_processes_is_one_line(ended, monkeypatch, tmp_path):
    """The first process may be late, and the launcher has not ended the others yet."""
    monkeypatch.setattr(cli, '_PATIENCE', 0.0)
    lines = []
    for rank in ('1', '0', '2'):
        (tmp_path / rank).mkdir()
        monkeypatch.setenv('RANK', rank)
        monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / rank / 'error.json'))
        lines.append(ended(ValueError('wrong')))
    assert lines == [(1, 'error: wrong (rank 1)\n'), (1, ''), (1, '')]


@pytest.mark.parametrize(
    ('seconds', 'busy', 'patience'), [(5, 5, 3), (9, 3, 9), (1, 4, 3), (600, 5, 30), (0, 0, 3)]
)
def test_others_wait_longer_where_cores_are_few(seconds, busy, patience):
    assert cli._patience(seconds, busy) == patience


class Broken:
    """A dataset whose only sample cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise DataError('/data/x.jpg: cannot be decoded: truncated')


def test_error_in_a_data_worker(ended):
    loader = DataLoader(Broken(), num_workers=1, multiprocessing_context='fork')
    with pytest.raises(DataError) as error:
        next(iter(loader))
    assert 'Traceback' in str(error.value)
    assert ended(error.value) == (1, 'error: /data/x.jpg: cannot be decoded: truncated\n')


def test_a_stop_that_a_library_takes_for_an_error(capsys):
    def main():
        try:
            sys.exit(143)
        except:  # noqa: E722
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert (end.value.code, capsys.readouterr().err) == (143, '')


LAUNCHED = """
import atexit, sys, threading, time
from mae.apis.cli import run_command

def main():
    atexit.register(lambda: print('at exit', flush=True))
    threading.Thread(target=lambda: (time.sleep(0.2), print('saved'))).start()
    {ends}

run_command(main)
print('not reached')
"""


@pytest.mark.parametrize(
    ('ends', 'code', 'said', 'told'),
    [
        ('pass', 0, '', None),
        ('sys.exit(143)', 143, '', None),
        ('raise ValueError("no such file")', 1, 'error: no such file\n', True),
        ('raise OSError(5, "Input/output error")', 1, 'error: Input/output error\n', False),
        ('raise LookupError("a bug")', 1, 'Traceback', None),
    ],
)
def test_a_process_of_the_launcher(tmp_path, ends, code, said, told):
    """It ends as any other, with its status, and leaves word of what it cannot mend."""
    file = tmp_path / '0' / 'error.json'
    file.parent.mkdir()
    env = {**os.environ, 'MAE_LAUNCHER_PID': str(os.getpid()), 'TORCHELASTIC_ERROR_FILE': str(file)}
    result = subprocess.run(
        [sys.executable, '-c', LAUNCHED.format(ends=ends)], env=env, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (code, 'saved\nat exit\n')
    assert result.stderr.startswith(said)
    assert (json.loads(file.read_text())['final'] if file.exists() else None) is told
