"""A target of a user's own, as the guide shows it: a file, a config, and the command line."""

import json
import re
from pathlib import Path

import pytest
import torch

from tests.forked import forked

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / 'docs/en/advanced_guides/add_a_part.md'
DEMO = ROOT / 'configs/demo/mae_vit-mini-p4_1xb64-coslr-170e_digits-16.py'


@pytest.fixture
def folder(tmp_path):
    """The file and the lines of the config, word for word from the guide."""
    section = GUIDE.read_text().split('## A target')[1]
    blocks = re.findall(r'^```(?:python)?\n(.*?)^```', section, re.M | re.S)
    code, config = blocks[:2]
    assert 'class NeighbourTarget' in code
    (tmp_path / 'my_targets.py').write_text(code)
    (tmp_path / 'my_config.py').write_text(
        f'_base_ = {str(DEMO)!r}\n{config}'
        'train_cfg = dict(max_epochs=2)\nparam_scheduler = dict(warmup_epochs=1)\n'
    )
    return tmp_path


@forked  # a class registered here would stay
def test_it_trains(folder, tool, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    done = tool('train', 'my_config.py', '--work-dir', 'out')
    assert done.code == 0, done.stderr[-2000:]
    saved = torch.load(folder / 'out/epoch_2.pth', weights_only=True)
    assert saved['state_dict']['decoder.pred.weight'].shape == (9, 64)
    assert json.loads((folder / 'out/run.json').read_text())['state'] == 'finished'


@forked
def test_a_slip_in_it_is_one_line(folder, tool, monkeypatch):
    file = folder / 'my_targets.py'
    file.write_text(file.read_text().replace('9 * in_channels', '8 * in_channels'))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    line = tool('train', 'my_config.py', '--work-dir', 'out').error
    assert 'NeighbourTarget gives a target of shape (64, 12, 9)' in line
    assert '(64, 12, 8)' in line
