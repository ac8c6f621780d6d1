"""The shell launchers hand on what they are given, in the ecosystem's variables."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
VARIABLES = [
    *('NNODES', 'NODE_RANK', 'PORT', 'MASTER_ADDR', 'MAX_RESTARTS', 'RDZV_ID'),
    *('SLURM_JOB_ID', 'SLURM_NODEID', 'SLURM_JOB_NODELIST'),
    *('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS'),
]


@pytest.fixture
def launch(tmp_path):
    """launch(script, *arguments, **variables) is the command line that it would start."""
    for name in ('python', 'srun', 'sbatch'):
        fake = tmp_path / 'bin' / name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(
            f'#!/bin/sh\nprintf "%s\\n" {name} "$@"\n'
            'echo "MASTER_PORT=${MASTER_PORT:-}" >&2\n'
            'echo "OMP_NUM_THREADS=${OMP_NUM_THREADS:-}" >&2\n'
            'echo "PYTHONPATH=$PYTHONPATH" >&2\n'
            'echo "ELASTIC=${MAE_ELASTIC_RUN:-} ${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-}" >&2\n'
            + ('cat\n' if name == 'sbatch' else '')
        )
        fake.chmod(0o755)

    def call(script, *arguments, **variables):
        env = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        env['PATH'] = f'{tmp_path / "bin"}:{env["PATH"]}'
        env.update(PYTHON='python', **variables)
        env.pop('OMP_NUM_THREADS', None)
        return subprocess.run(
            [TOOLS / script, *arguments], env=env, cwd=tmp_path, capture_output=True, text=True
        )

    return call


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('dist_train.sh', ['CONFIG']),
        ('dist_train.sh', ['CONFIG', '--work-dir']),
        ('dist_train.sh', ['CONFIG', '0']),
        ('dist_test.sh', ['CONFIG', 'CHECKPOINT']),
        ('dist_test.sh', ['CONFIG', '2', 'CHECKPOINT']),
        ('slurm_train.sh', ['PARTITION', 'JOB']),
        ('slurm_test.sh', ['PARTITION', 'JOB', 'CONFIG']),
    ],
)
def test_usage(launch, script, arguments):
    result = launch(script, *arguments)
    assert result.returncode == 2
    assert result.stdout == ''
    assert re.fullmatch(rf'usage: .*{script} .*CONFIG.*\n', result.stderr)


def test_dist_train_on_one_node_finds_its_port(launch):
    result = launch('dist_train.sh', 'CONFIG', '4', '--work-dir', 'a b', '--seed', '1')
    words = result.stdout.splitlines()
    assert words[0] == 'python'
    at = words.index(f'{TOOLS}/train.py')
    assert words[at + 1 :] == [
        'CONFIG',
        *('--work-dir', 'a b', '--seed', '1', '--launcher', 'pytorch'),
    ]
    assert '--nproc-per-node=4' in words[:at]
    assert '--rdzv-endpoint=127.0.0.1:0' in words[:at]
    assert not any(word.startswith('--master-port') for word in words)
    assert f'PYTHONPATH={TOOLS}/..' in result.stderr


def test_dist_train_on_several_nodes(launch):
    places = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'node0', 'PORT': '1234'}
    words = launch('dist_train.sh', 'CONFIG', '8', **places).stdout.splitlines()
    assert {
        *('--nnodes=2', '--node-rank=1', '--master-addr=node0', '--master-port=1234'),
    } <= set(words)


def test_dist_train_with_a_port(launch):
    words = launch('dist_train.sh', 'CONFIG', '8', PORT='1234').stdout.splitlines()
    assert '--master-port=1234' in words
    assert '--master-addr=127.0.0.1' in words


def test_several_nodes_need_a_common_address(launch):
    result = launch('dist_train.sh', 'CONFIG', '8', NNODES='2')
    assert result.returncode == 2
    assert 'NNODES=2 needs MASTER_ADDR' in result.stderr


def test_dist_test(launch):
    words = launch('dist_test.sh', 'CONFIG', 'CHECKPOINT', '3', '--out', 'x.json').stdout
    at = words.index(f'{TOOLS}/test.py')
    assert words[at:].split() == [
        *(f'{TOOLS}/test.py', 'CONFIG', 'CHECKPOINT'),
        *('--out', 'x.json', '--launcher', 'pytorch'),
    ]
    assert '--nproc-per-node=3' in words[:at]


@pytest.mark.skipif(
    any((Path(folder) / 'nvidia-smi').exists() for folder in os.environ['PATH'].split(':')),
    reason='torchrun decides where there are GPUs',
)
def test_processes_share_the_cores(launch):
    cores = len(os.sched_getaffinity(0))
    assert f'OMP_NUM_THREADS={cores}\n' in launch('dist_train.sh', 'CONFIG', '1').stderr
    assert 'OMP_NUM_THREADS=1\n' in launch('dist_train.sh', 'CONFIG', str(cores + 1)).stderr


ELASTIC = {'NNODES': '1:4', 'MASTER_ADDR': 'node0', 'RDZV_ID': 'run7'}


def test_an_elastic_run(launch):
    result = launch('dist_train.sh', 'CONFIG', '8', '--seed', '1', NODE_RANK='1', **ELASTIC)
    words = result.stdout.splitlines()
    assert {
        *('--nnodes=1:4', '--max-restarts=3', '--rdzv-id=run7', '--rdzv-backend=mae'),
        *('--rdzv-endpoint=node0:29500', '--nproc-per-node=8'),
        '--rdzv-conf=is_host=0,join_timeout=600,last_call_timeout=15',
    } <= set(words)
    assert words[-4:] == ['--seed', '1', '--launcher', 'pytorch']
    assert 'ELASTIC=run7 1\n' in result.stderr
    first = launch('dist_train.sh', 'CONFIG', '8', **ELASTIC).stdout
    assert 'is_host=1' in first


def test_restarts_on_one_node_need_no_name(launch):
    result = launch('dist_train.sh', 'CONFIG', '2', MAX_RESTARTS='5')
    words = result.stdout.splitlines()
    assert {'--nnodes=1', '--max-restarts=5', '--rdzv-endpoint=127.0.0.1:0'} <= set(words)
    assert re.search(r'ELASTIC=\d+-\d+ 1\n', result.stderr)
    assert 'ELASTIC= \n' in launch('dist_train.sh', 'CONFIG', '2', MAX_RESTARTS='0').stderr


def test_a_job_has_a_name(launch):
    variables = {**ELASTIC, 'RDZV_ID': '', 'SLURM_JOB_ID': '17', 'SLURM_NODEID': '2'}
    words = launch('dist_train.sh', 'CONFIG', '8', **variables).stdout.splitlines()
    assert '--rdzv-id=17' in words
    assert any('is_host=0' in word for word in words)
    variables |= {'NNODES': '1', 'MAX_RESTARTS': '1'}  # a run of its own on the third node
    assert 'is_host=1' in launch('dist_train.sh', 'CONFIG', '8', **variables).stdout


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'RDZV_ID': ''}, 'NNODES=1:4 needs RDZV_ID'),
        ({'MASTER_ADDR': ''}, 'NNODES=1:4 needs MASTER_ADDR'),
        ({'NNODES': '4:1'}, 'NNODES=4:1 is neither'),
        ({'NNODES': '1:'}, 'NNODES=1: is neither'),
        ({'NNODES': 'two'}, 'NNODES=two is neither'),
        ({'MAX_RESTARTS': '-1'}, 'MAX_RESTARTS=-1 is no number from 0 on'),
        ({'PORT': 'http'}, 'PORT=http is no number from 1 to 65535'),
        ({'PORT': '65536'}, 'PORT=65536 is no number from 1 to 65535'),
        ({'NODE_RANK': 'first'}, 'NODE_RANK=first is no number from 0 on'),
        ({'NNODES': '2', 'NODE_RANK': '2'}, 'NODE_RANK=2 needs a larger NNODES than 2'),
        ({'NNODES': '', 'NODE_RANK': '1'}, 'NODE_RANK=1 needs a larger NNODES than 1'),
        (
            {'TORCH_ELASTIC_SHUTDOWN_TIMEOUT': '2m'},
            'TORCH_ELASTIC_SHUTDOWN_TIMEOUT=2m is no number',
        ),
    ],
)
def test_bad_variables(launch, changes, expected):
    result = launch('dist_train.sh', 'CONFIG', '8', **{**ELASTIC, **changes})
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.startswith(f'usage: {expected}')
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ('arguments', 'rest'),
    [
        ([], ''),
        (['WORK_DIR'], '--work-dir WORK_DIR'),
        (['--seed', '1'], '--seed 1'),
        (['WORK DIR', '--seed', '1'], '--work-dir WORK\\ DIR --seed 1'),
    ],
)
def test_slurm_train(launch, arguments, rest):
    words = launch('slurm_train.sh', 'PARTITION', 'JOB', 'CONFIG', *arguments).stdout.splitlines()
    at = words.index('#!/usr/bin/env bash')
    assert words[:at] == [
        *('sbatch', '--partition=PARTITION', '--job-name=JOB', '--nodes=1', '--ntasks-per-node=1'),
        *('--gres=gpu:8', '--cpus-per-task=80', '--requeue', '--open-mode=append'),
        '--signal=USR1@120',
    ]
    run = f'exec srun --kill-on-bad-exit=1 --cpus-per-task=80 {TOOLS}/dist_train.sh CONFIG 8 {rest}'
    assert words[-1].rstrip() == run.rstrip()
    assert 'export PYTHON=python NNODES=1 MAX_RESTARTS=3' in words


def test_slurm_variables(launch):
    variables = {'GPUS': '16', 'GPUS_PER_NODE': '4', 'CPUS_PER_TASK': '10', 'PORT': '1234'}
    variables['SRUN_ARGS'] = '--quotatype=auto -x node7'
    result = launch('slurm_test.sh', 'PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT', **variables)
    words = result.stdout.splitlines()
    assert {'--ntasks=16', '--ntasks-per-node=4', '--gres=gpu:4', '--cpus-per-task=10'} < set(words)
    at = words.index('--quotatype=auto')
    assert words[at + 1 : at + 3] == ['-x', 'node7']
    assert words[-4:] == ['CONFIG', 'CHECKPOINT', '--launcher', 'slurm']
    assert 'MASTER_PORT=1234\n' in result.stderr


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'GPUS': 'all'}, 'GPUS=all is no number from 1 on'),
        ({'GPUS': '08'}, 'GPUS=08 is no number from 1 on'),
        ({'GPUS_PER_NODE': '0'}, 'GPUS_PER_NODE=0 is no number from 1 on'),
        ({'CPUS_PER_TASK': 'all'}, 'CPUS_PER_TASK=all is no number from 1 on'),
        ({'GPUS': '9'}, 'GPUS=9 is no multiple of GPUS_PER_NODE=8'),
    ],
)
def test_bad_slurm_variables(launch, script, changes, expected):
    result = launch(script, 'PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT', **changes)
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.startswith(f'usage: {expected}')
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(bool(shutil.which('srun', path='/usr/bin:/bin')), reason='it is there')
@pytest.mark.parametrize(('script', 'command'), [('train', 'sbatch'), ('test', 'srun')])
def test_without_slurm(launch, script, command):
    arguments = (f'slurm_{script}.sh', 'PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT')
    result = launch(*arguments, PATH='/usr/bin:/bin')
    assert result.returncode == 2
    assert re.fullmatch(rf'usage: .* needs SLURM: there is no {command}; .*\n', result.stderr)


@pytest.mark.parametrize(
    ('nodes', 'gpus', 'expected'),
    [
        ('96', '8', 12),
        ('192+', '8', 18),  # 16 workers and two more
        ('64\\n32', '4', 8),  # nodes of two kinds: the smaller
        ('4', '8', 1),
        ('no such partition', '8', 10),
    ],
)
def test_each_task_gets_its_share_of_a_node(launch, tmp_path, nodes, gpus, expected):
    fake = tmp_path / 'bin' / 'sinfo'
    fake.write_text(f'#!/bin/sh\nprintf "{nodes}\\n"\n')
    fake.chmod(0o755)
    variables = {'GPUS': '16', 'GPUS_PER_NODE': gpus}
    arguments = ['PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT']
    words = launch('slurm_test.sh', *arguments, **variables).stdout.splitlines()
    assert f'--cpus-per-task={expected}' in words


def test_few_gpus_lie_on_one_node(launch):
    arguments = ['PARTITION', 'JOB', 'CONFIG', 'CHECKPOINT']
    words = launch('slurm_test.sh', *arguments, GPUS='2').stdout.splitlines()
    assert {'--ntasks=2', '--ntasks-per-node=2', '--gres=gpu:2'} < set(words)


@pytest.mark.timeout(300)
def test_more_processes_than_samples(images, write_config, work_dir):
    root, text = images
    for path in list(root.rglob('*.png'))[1:]:
        path.unlink()
    config = write_config(f'{text}\ntrain_dataloader.update(batch_size=2)')
    result = subprocess.run(
        [TOOLS / 'dist_train.sh', config, '2', '--work-dir', work_dir],
        env={**os.environ, 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if 'error: ' in line]
    assert line.startswith('error: ')
    assert 'more processes than samples: 2 and 1' in line
    assert not work_dir.exists()
