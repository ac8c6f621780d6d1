"""Two processes: the first decides, both get its choice or its error, and none waits for ever."""

import json
import multiprocessing
import os
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from mae.fault_tolerance.checkpoint import choose_checkpoint
from mae.utils.distributed import init_distributed, on_main, require_visible_gpu, together
from mae.utils.errors import ConfigError
from tests.faults.calls import cut


def refuse(rank, only=None):
    if only is None or rank == only:
        raise ValueError(f'no good in {rank}')
    return rank


CASES = {
    'choice': lambda rank, folder: str(on_main(lambda: choose_checkpoint(folder, 5, print)).path),
    'nothing': lambda rank, folder: on_main(lambda: None),
    'error in the first': lambda rank, folder: on_main(lambda: refuse(rank)),
    'all well': lambda rank, folder: together(lambda: rank),
    'error in the second': lambda rank, folder: together(lambda: refuse(rank, only=1)),
}


def child(rank, folder, results):
    dist.init_process_group(
        'gloo',
        init_method=f'file://{results}/store',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    found = {}
    for name, call in CASES.items():
        try:
            found[name] = call(rank, folder)
        except ValueError as error:
            found[name] = f'{type(error).__name__}: {error}'
    (results / f'{rank}.json').write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder, results = tmp_path_factory.mktemp('work'), tmp_path_factory.mktemp('results')
    from tests.fault_tolerance.checkpoint.conftest import commit, content

    for step in (5, 10):
        commit(content(step), folder / f'iter_{step}.pth')
    cut(folder / 'iter_10.pth', 0.5)
    context = multiprocessing.get_context('fork')
    children = [context.Process(target=child, args=(rank, folder, results)) for rank in range(2)]
    for process in children:
        process.start()
    for process in children:
        process.join(100)
        assert process.exitcode == 0
    return [json.loads((results / f'{rank}.json').read_text()) for rank in range(2)]


def test_the_first_decides(found):
    assert found[0]['choice'] == found[1]['choice']
    assert found[0]['choice'].endswith('iter_5.pth')
    assert found[0]['nothing'] is found[1]['nothing'] is None


def test_its_error_is_everyones(found):
    assert found[0]['error in the first'] == 'ValueError: no good in 0'
    assert found[1]['error in the first'] == 'CheckpointError: no good in 0'


def test_an_error_in_one_stops_all(found):
    assert [each['all well'] for each in found] == [0, 1]
    assert found[0]['error in the second'] == 'CheckpointError: process 1: no good in 1'
    assert found[1]['error in the second'] == 'ValueError: no good in 1'


@pytest.fixture
def gpus(monkeypatch):
    """gpus(number, local_rank): what `init_distributed` does with them, told by its calls."""

    def prepare(number, local_rank):
        calls = {}
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: number > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: number)
        monkeypatch.setattr(torch.cuda, 'set_device', lambda index: calls.update(index=index))
        monkeypatch.setattr(torch.cuda, 'current_device', lambda: calls['index'])
        monkeypatch.setattr(
            dist, 'init_process_group', lambda backend, **options: calls.update(options, by=backend)
        )
        values = dict(SLURM_PROCID='3', SLURM_NTASKS='8', SLURM_LOCALID=local_rank)
        values |= dict(RANK='3', WORLD_SIZE='8', LOCAL_RANK=local_rank, MASTER_ADDR='node0')
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv('MASTER_PORT', '1')
        return calls

    return prepare


@pytest.mark.parametrize('launcher', ['slurm', 'pytorch'])
def test_nccl_is_told_its_device(gpus, launcher):
    calls = gpus(8, '3')
    init_distributed(launcher)
    assert calls['device_id'] == torch.device('cuda', 3)
    assert (calls['by'], calls['index']) == ('nccl', 3)


def test_gloo_has_none(gpus):
    calls = gpus(0, '3')
    init_distributed('pytorch')
    assert calls['by'] == 'gloo'
    assert 'device_id' not in calls


def test_slurm_may_show_each_task_one_gpu(gpus):
    calls = gpus(1, '3')
    init_distributed('slurm')
    assert calls['device_id'] == torch.device('cuda', 0)
    assert os.environ['LOCAL_RANK'] == '0'  # which mmengine's wrapper reads


@pytest.mark.parametrize(('launcher', 'number'), [('pytorch', 1), ('slurm', 2)])
def test_more_processes_than_gpus(gpus, launcher, number):
    gpus(number, '3')
    with pytest.raises(ValueError, match=f'process 3 of this node has no GPU: .* only {number};'):
        init_distributed(launcher)


@pytest.mark.parametrize('named', ['7', '0,1', 'GPU-1234'])
def test_a_gpu_that_is_not_there(named, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', named)
    monkeypatch.setattr(torch.backends.cuda, 'is_built', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match=f'^CUDA_VISIBLE_DEVICES={named}, but torch sees no such'):
        require_visible_gpu()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    require_visible_gpu()


@pytest.mark.parametrize('named', ['', '-1', 'NoDevFiles', None])
def test_no_gpu_is_asked_for(named, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    if named is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', named)
    require_visible_gpu()
