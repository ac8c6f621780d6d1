"""The command `mae`: its table, what it refuses, and that `tools/` are doors to the same code."""

import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path

import pytest

from mae.__main__ import COMMANDS, main
from tests.own_images import colours

ROOT = Path(__file__).resolve().parents[2]
DOORS = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'extract_features': 'features',
    'visualization/reconstruct': 'reconstruct',
    'converters/convert': 'convert',
    'download': 'zoo',
}
PRETRAIN = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


def run(*words):
    """Status and output of the command, in this process."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, words)])
    return end.value.code


@pytest.mark.parametrize('name', COMMANDS)
def test_every_row_leads_to_a_command(name, capsys, monkeypatch):
    command = COMMANDS[name]
    function = getattr(import_module(f'mae.commands.{command.module}'), command.function)
    assert list(signature(function).parameters) == ['argv', 'prog']
    monkeypatch.setattr('signal.signal', lambda *_: None)
    assert run(*name.split(), '--help') == 0
    assert capsys.readouterr().out.startswith(f'usage: mae {name} [-h]')


@pytest.mark.parametrize('tool', DOORS)
def test_tools_are_doors_to_the_same_functions(tool):
    spec = spec_from_file_location('a_tool', ROOT / 'tools' / f'{tool}.py')
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    module = import_module(f'mae.commands.{DOORS[tool]}')
    assert (found.main, found.parse_args) == (module.main, module.parse_args)


@pytest.mark.parametrize(
    ('words', 'code', 'text'),
    [
        ([], 2, 'usage: mae COMMAND'),
        (['--help'], 0, '  pre-train on a folder of your images\n'),
        (['zoo'], 2, '  zoo convert  '),
        (['zoo', '--help'], 0, '  zoo list     names of published weights'),
        (['trian'], 2, 'mae: error: no such command: trian; did you mean train?'),
        (['zoo', 'lst'], 2, 'mae: error: no such command: zoo lst; did you mean zoo list?'),
    ],
)
def test_what_is_no_command(words, code, text, capsys):
    assert run(*words) == code
    said = capsys.readouterr()
    assert text in said.out + said.err


def test_configs_are_printed_compared_and_written(tmp_path, capsys):
    main(['config', 'diff', PRETRAIN, PRETRAIN.replace('400e', '800e')])
    assert capsys.readouterr().out == 'train_cfg.max_epochs: 400 -> 800\n'
    main(['config', 'diff', PRETRAIN, PRETRAIN])
    assert capsys.readouterr().out == 'no value differs\n'
    path = tmp_path / 'mine.py'
    new = ['config', 'new', str(path), '--from', PRETRAIN, '--cfg-options', 'base_lr=0.5']
    main(new)
    capsys.readouterr()
    main(['config', 'diff', PRETRAIN, str(path)])
    assert capsys.readouterr().out == 'base_lr: 0.00015 -> 0.5\n'
    main(['config', 'print', str(path)])
    assert 'base_lr = 0.5\n' in capsys.readouterr().out
    assert run(*new) == 1
    assert 'mine.py exists already; remove it' in capsys.readouterr().err


def test_a_new_config_with_a_wrong_key_is_not_written(tmp_path, capsys):
    path = tmp_path / 'mine.py'
    assert run('config', 'new', path, '--from', PRETRAIN, '--cfg-options', 'base_rl=0.5') == 1
    assert 'error: cfg_options: unknown key base_rl; did you mean base_lr?' in (
        capsys.readouterr().err
    )
    assert not path.exists()


def test_published_names(capsys):
    main(['zoo', 'list', '*large*1600e*'])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all('large' in name for name in lines[::2])
    assert run('zoo', 'list', 'nothing-of-the-kind') == 1


def test_a_process_of_its_own_trains_on_a_folder(tmp_path):
    colours(tmp_path / 'my photos', 16)
    words = ['-m', 'mae', 'pretrain', 'my photos', '--epochs', '1', '--work-dir', 'out']
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[0] == 'looking at my photos'
    assert (tmp_path / 'out/epoch_1.pth').is_file()


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('signal.signal', lambda *_: None)
    assert run('pretrain', tmp_path / 'nowhere') == 1
    assert capsys.readouterr().err == (
        f'error: {tmp_path}/nowhere does not exist: give a folder of images\n'
    )
    assert run('finetune', tmp_path) == 2  # no --from
