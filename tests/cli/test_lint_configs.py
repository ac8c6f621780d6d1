"""`tools/analysis/lint_configs.py`: file and key of each broken rule, and the exit code."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mae.config import find_config, shipped_configs

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis/lint_configs.py'
NAME = 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'


@pytest.fixture(scope='module')
def tool():
    spec = spec_from_file_location('tool_lint_configs', TOOL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_broken_config_in_a_folder(tool, tmp_path, capsys):
    (tmp_path / 'deep').mkdir()
    path = tmp_path / 'deep' / f'{NAME}.py'
    path.write_text(f'_base_ = {str(find_config(NAME))!r}\ntrain_cfg = dict(max_epochs=300)\n')
    with pytest.raises(SystemExit) as end:
        tool.main([str(tmp_path), NAME])
    assert end.value.code == 1
    line, summary = capsys.readouterr().out.splitlines()
    assert line == f'{path}: train_cfg.max_epochs: is 300, but the name promises 400'
    assert summary == '2 files checked, 1 rule broken'


def test_shipped_config(tool, capsys):
    tool.main([NAME])
    assert capsys.readouterr().out == '1 file checked, 0 rules broken\n'


def test_all_that_are_shipped(tool):
    files = tool.find_files([])
    assert set(shipped_configs()) < set(files)
    assert {file.name for file in set(files) - set(shipped_configs())} == {'metafile.yml'}
