"""`tools/slurm_train.sh` on a cluster that refuses what SLURM's manuals say it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fake_slurm

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
# In place of Python: notes how it is called, and as the stop hook does asks for a requeue, once.
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> "$FAKE_SLURM/calls"
echo "start $SLURM_RESTART_COUNT on node $SLURM_NODEID"
if [[ $SLURM_RESTART_COUNT == 0 ]]; then
    if [[ $SLURM_NODEID == 0 ]]; then scontrol requeue "$SLURM_JOB_ID" || exit 1; fi
    exit 143
fi
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """cluster(script, *arguments, **variables) is what the script printed, and its status."""
    folder, state = tmp_path / 'bin', tmp_path / 'state'
    folder.mkdir()
    state.mkdir()
    for name in ('sbatch', 'srun', 'scontrol'):
        source = Path(fake_slurm.__file__).read_text()
        (folder / name).write_text(f'#!{sys.executable}\n{source}')
        (folder / name).chmod(0o755)
    stand_in = folder / 'stand in'
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    for name in ('NNODES', 'NODE_RANK', 'PORT', 'MASTER_ADDR', 'MAX_RESTARTS', 'RDZV_ID', 'RANK'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    monkeypatch.setenv('FAKE_SLURM', str(state))
    monkeypatch.setenv('PYTHON', str(stand_in))
    monkeypatch.chdir(tmp_path)

    def call(*words, **variables):
        env = {**os.environ, **variables}
        return subprocess.run(words, env=env, capture_output=True, text=True)

    return call


def calls(tmp_path):
    return sorted((tmp_path / 'state' / 'calls').read_text().splitlines())


def test_a_training_is_a_batch_job_which_goes_on_after_a_requeue(cluster, tmp_path):
    words = [TOOLS / 'slurm_train.sh', 'gpu', 'job', 'CONFIG', 'a b', '--seed', '1']
    result = cluster(*words, GPUS='16')
    assert (result.returncode, result.stdout) == (0, 'Submitted batch job 7\n')
    output = (tmp_path / 'slurm-7.out').read_text().splitlines()
    starts = [f'start {start} on node {node}' for start in range(2) for node in range(2)]
    assert sorted(output) == starts  # the first start's output is kept
    found = calls(tmp_path)
    assert len(found) == 4  # two nodes, twice
    for call in found:
        assert '--nnodes=2 --max-restarts=3 --rdzv-id=7 --rdzv-backend=mae' in call
        assert '--rdzv-endpoint=node0:20007' in call
        assert '--nproc-per-node=8' in call
        assert call.endswith('train.py CONFIG --work-dir a b --seed 1 --launcher pytorch')
    assert [call.count('is_host=1') for call in found].count(1) == 2
    words = json.loads((tmp_path / 'state' / '7.json').read_text())['words']
    assert {'--requeue', '--open-mode=append', '--signal=USR1@120', '--nodes=2'} <= set(words)
    assert {'--ntasks-per-node=1', '--gres=gpu:8', '--cpus-per-task=80'} <= set(words)


def test_a_job_of_a_bare_srun_cannot_be_requeued(cluster, tmp_path):
    """What `slurm_train.sh` did before: the cluster of these tests notices."""
    result = cluster('srun', '--nodes=1', 'bash', '-c', 'scontrol requeue "$SLURM_JOB_ID"')
    assert result.returncode == 1
    assert 'Only batch jobs are accepted' in result.stderr


@pytest.mark.parametrize('words', [[], ['--open-mode=append']])
def test_a_job_that_may_not_be_requeued_is_not(cluster, tmp_path, words):
    job = '#!/bin/bash\nscontrol requeue "$SLURM_JOB_ID"\n'
    result = subprocess.run(['sbatch', *words], input=job, text=True, capture_output=True)
    assert result.returncode == 0
    assert 'presently disabled' in (tmp_path / 'slurm-7.out').read_text()


def test_what_users_ask_for_comes_last(cluster, tmp_path):
    asked = '--time=72:00:00 --signal=USR1@600 --no-requeue'
    words = [TOOLS / 'slurm_train.sh', 'gpu', 'job', 'CONFIG']
    cluster(*words, GPUS='2', SRUN_ARGS=asked, MAX_RESTARTS='0', PORT='1234')
    words = json.loads((tmp_path / 'state' / '7.json').read_text())['words']
    assert words[-3:] == asked.split()
    (call,) = calls(tmp_path)  # and not again
    assert '--master-port=1234' in call
    assert '--nproc-per-node=2' in call


def test_nodes_have_as_many_gpus_each(cluster):
    result = cluster(TOOLS / 'slurm_train.sh', 'gpu', 'job', 'CONFIG', GPUS='12')
    assert result.returncode == 2
    assert 'GPUS=12 is no multiple of GPUS_PER_NODE=8' in result.stderr
