"""The cores that a process may use."""

import os

import pytest

from mae.utils import hardware
from mae.utils.hardware import cores_at_hand


@pytest.mark.parametrize(
    ('quota', 'environ', 'expected'),
    [
        (None, {}, 12),
        ('max 100000', {}, 12),
        ('400000 100000', {}, 4),
        ('50000 100000', {}, 1),
        (None, {'LOCAL_WORLD_SIZE': '4'}, 3),
        (None, {'LOCAL_WORLD_SIZE': '16'}, 1),
        (None, {'SLURM_CPUS_PER_TASK': '5'}, 5),
        (None, {'SLURM_CPUS_PER_TASK': '50'}, 12),
        ('800000 100000', {'LOCAL_WORLD_SIZE': '2'}, 4),
    ],
)
def test_cores_at_hand(quota, environ, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(12)))
    monkeypatch.setattr(hardware, '_QUOTA', tmp_path / 'cpu.max')
    if quota is not None:
        hardware._QUOTA.write_text(f'{quota}\n')
    assert cores_at_hand(environ) == expected
