"""`tools/data/verify.py` on a folder and on a config, and what training makes of its list."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mae.apis.cli import run_command

TOOL = Path(__file__).resolve().parents[2] / 'tools/data/verify.py'


@pytest.fixture(scope='module')
def main():
    spec = spec_from_file_location('tool_verify', TOOL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def verify(main):
    """verify(*arguments) is its exit code, its lines and what it says on stderr."""

    def call(*arguments):
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                run_command(lambda: main([*map(str, arguments)]))
            except SystemExit as end:
                code = end.code
        return code, out.getvalue().splitlines(), err.getvalue()

    return call


@pytest.fixture
def damaged(images):
    """The folder with a truncated image, a pipe and one whose name is no UTF-8."""
    root, text = images
    cut = root / 'class1/3.png'
    cut.write_bytes(cut.read_bytes()[:60])
    os.mkfifo(root / 'class0/pipe.png')
    Path(os.fsdecode(os.fsencode(root) + b'/class1/\xff.png')).write_bytes(b'')
    return root, text


def test_a_good_folder(verify, images):
    assert verify(images[0], '--workers', 0) == (0, ['8 images checked, 0 bad'], '')


@pytest.mark.parametrize('workers', [0, 2])
def test_a_bad_folder(verify, damaged, tmp_path, workers):
    out = tmp_path / 'list.txt'
    code, lines, err = verify(damaged[0], '--workers', workers, '--out', out)
    assert (code, err) == (1, '')
    assert lines[0].startswith('class0/pipe.png: cannot be decoded')
    assert lines[1].startswith('class1/3.png: cannot be decoded')
    assert lines[2].startswith(r'class1/\udcff.png: cannot be decoded')
    assert lines[3:] == ['10 images checked, 3 bad']
    assert len(out.read_text().splitlines()) == 3


def test_training_honours_the_list_of_a_config(verify, damaged, train, write_config, tmp_path):
    out = tmp_path / 'list.txt'
    config = write_config(damaged[1])
    code, lines, _ = verify('--config', config, '--out', out, '--workers', 0)
    assert (code, lines[-1]) == (1, '10 images checked, 3 bad')
    text = f'{damaged[1]}\ntrain_dataloader["dataset"]["quarantine"] = {str(out)!r}\n'
    assert train(text=text).code == 0
    # What is in quarantine is checked again, else a new list would lack it.
    assert verify('--config', write_config(text), '--workers', 0)[1] == lines


def test_mistakes(verify, tmp_path):
    assert verify(tmp_path / 'gone', '--workers', 0)[2].startswith('error: ')
    for wrong in ([], [tmp_path, '--config', 'x'], [tmp_path, '--workers', '-1']):
        assert verify(*wrong)[0] == 2
    assert verify(tmp_path, '--cfg-options', 'a=1')[0] == 2


def test_one_bad_file_of_a_small_folder_does_not_end_training(train, images):
    (images[0] / 'class1/bad.png').write_bytes(b'no image')
    (images[0] / 'class1/._3.png').write_bytes(b'of macOS')
    assert train(text=images[1]).code == 0


def test_too_many_bad_samples_end_training_in_one_line(train, damaged, work_dir):
    error = train(text=damaged[1]).error
    assert 'max_bad_fraction=0.001' in error
    assert 'bad samples in epoch 1' in error
    assert (work_dir / 'bad_samples.jsonl').is_file()
