"""Two processes on the CPU, as `tools/dist_train.sh CONFIG 2` starts them, do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
NO_DROP_PATH = 'model.encoder.drop_path_rate=0.0'  # it depends on the process


def launch(script, *arguments):
    result = subprocess.run(
        [TOOLS / script, *map(str, arguments)],
        env={**os.environ, 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def last_logged(work_dir):
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if 'loss' in line][-1]


@pytest.mark.timeout(300)
def test_two_processes_train_and_test_as_one(train, tool, write_config, work_dir, tmp_path):
    half = '--batch-per-device', '25', '--cfg-options', NO_DROP_PATH
    launch('dist_train.sh', write_config(base='ft'), '2', '--work-dir', tmp_path / 'two', *half)
    assert train(NO_DROP_PATH, base='ft', arguments=['--batch-per-device', '50']).code == 0
    two, one = last_logged(tmp_path / 'two'), last_logged(work_dir)
    assert two['loss'] == pytest.approx(one['loss'], rel=1e-5)
    assert two['lr'] == one['lr']
    weights = [torch.load(folder / 'epoch_1.pth') for folder in (tmp_path / 'two', work_dir)]
    for name, value in weights[1]['state_dict'].items():
        torch.testing.assert_close(weights[0]['state_dict'][name], value, rtol=1e-3, atol=1e-5)

    config, checkpoint = write_config(base='ft'), work_dir / 'epoch_1.pth'
    outs = [tmp_path / 'two.json', tmp_path / 'one.json']
    launch('dist_test.sh', config, checkpoint, '2', '--work-dir', tmp_path, '--out', outs[0])
    assert tool('test', config, checkpoint, '--work-dir', tmp_path, '--out', outs[1]).code == 0
    found = [json.loads(out.read_text()) for out in outs]
    assert found[0] == pytest.approx(found[1])
    assert found[0]['num_samples'] == 360
