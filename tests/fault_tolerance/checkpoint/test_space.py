import shutil
from types import SimpleNamespace

import pytest
import torch

from mae.fault_tolerance.checkpoint.space import check_space
from mae.utils.errors import CheckpointError

MODEL = torch.nn.Linear(1000, 1000, bias=False)  # 4 MB: 12 MB with an optimizer's averages


@pytest.mark.parametrize(
    ('free', 'outcome'), [(1e9, 'fits'), (36e6, 'fits'), (35e6, 'warning'), (11e6, 'refused')]
)
def test_free_space(tmp_path, monkeypatch, free, outcome):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    if outcome == 'refused':
        with pytest.raises(CheckpointError, match=r'11 MB free, and one checkpoint takes about 12'):
            check_space(tmp_path, MODEL, 2)
        return
    warning = check_space(tmp_path, MODEL, 2)
    assert (warning is None) == (outcome == 'fits')
    if warning:
        assert '3 checkpoints take about 36 MB' in warning


def test_what_will_be_replaced_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=13e6))
    assert check_space(tmp_path, MODEL, 2)
    for epoch in (1, 2):
        (tmp_path / f'epoch_{epoch}.pth').write_bytes(bytes(12_000_000))
    assert check_space(tmp_path, MODEL, 2) is None
