"""`tools/data/prepare.py`: what it prints, and its exit code."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mae.apis.cli import run_command
from mae.datasets.catalogue import CATALOGUE, ClassFolders

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'prepare.py'


@pytest.fixture
def prepare(monkeypatch, capsys):
    """prepare(*arguments) runs the tool; its ImageNet-A has two images. Code, stdout, stderr."""
    spec = spec_from_file_location('tool_prepare', TOOL)
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    small = replace(CATALOGUE['imagenet-a'], parts=(ClassFolders(('',), 2, (2,)),))
    monkeypatch.setitem(CATALOGUE, 'imagenet-a', small)

    def call(*arguments):
        code = 0
        try:
            run_command(lambda: tool.main([*map(str, arguments)]))
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


def test_a_whole_set_and_one_with_a_gap(prepare, tmp_path):
    for name in ('n00000001', 'n00000002'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '7.jpg').touch()
    code, stdout, _ = prepare('imagenet-a', tmp_path)
    assert code == 0
    assert stdout.startswith(f'ok     {tmp_path}: 2 classes, 2 images\n')
    assert f"source=dict(type='ImageFolder', root='{tmp_path}', classes='imagenet')" in stdout

    (tmp_path / 'n00000002' / '7.jpg').unlink()
    code, stdout, _ = prepare('imagenet-a', tmp_path)
    assert code == 1
    assert f'WRONG  {tmp_path}: 2 classes, 1 image; expected 2' in stdout
    assert 'it comes from https://github.com/hendrycks/natural-adv-examples' in stdout
    assert 'terms: ' in stdout


def test_a_typo(prepare, tmp_path):
    code, _, stderr = prepare('imagenet_a', tmp_path)
    assert code == 1
    assert stderr == "error: no data set 'imagenet_a'; did you mean imagenet-a?\n"
