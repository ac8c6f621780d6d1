"""Two processes: the first decides, both get its choice or its error, and none waits for ever."""

import ctypes
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from mae.fault_tolerance.checkpoint import choose_checkpoint
from mae.utils.distributed import (
    Timeouts,
    init_distributed,
    interface_to_master,
    on_main,
    require_visible_gpu,
    together,
)
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


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, (600, 120)),
        ({'timeout': 15}, (600, 15)),
        ({'timeout': 1800}, (1800, 1800)),  # a start may take as long as a step
        ({'timeout': 15, 'start_timeout': 30}, (30, 15)),
        ({'start_timeout': 30}, (120, 120)),
    ],
)
def test_two_timeouts(given, expected):
    assert Timeouts.of(given) == expected


def test_flight_recorder_writes_to_the_work_dir(gpus, tmp_path, monkeypatch):
    names = 'TORCH_FR_BUFFER_SIZE', 'TORCH_NCCL_DUMP_ON_TIMEOUT', 'TORCH_FR_DUMP_TEMP_FILE'
    gpus(1, '0')
    monkeypatch.setenv(names[0], '7')  # stays
    for name in names[1:]:
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    init_distributed('pytorch', traces=tmp_path)
    assert [os.environ[name] for name in names] == ['7', '1', f'{tmp_path}/nccl_trace_rank_']


# --- two nodes: network namespaces with a cable between them -------------------------------

LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='ioctl and ip are of Linux')
FORK = multiprocessing.get_context('fork')
NEW_NET, NEW_MOUNTS = 0x40000000, 0x20000


def call(*words):
    subprocess.run(words, check=True, capture_output=True)


def enter_node(rank, hosts):
    """A node as Debian sets it up: its name is an address that no other node can reach."""
    call('ip', 'link', 'set', 'lo', 'up')
    call('ip', 'addr', 'add', f'10.77.0.{rank + 1}/24', 'dev', f'cable{rank}')
    call('ip', 'link', 'set', f'cable{rank}', 'up')
    call('mount', '--make-rprivate', '/')
    call('mount', '--bind', str(hosts), '/etc/hosts')


def add_up(rank):
    os.environ |= dict(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK='0')
    os.environ |= dict(MASTER_ADDR='10.77.0.1', MASTER_PORT='29512')
    os.environ.pop('MAE_LAUNCHER_PID', None)
    init_distributed('pytorch', 20)
    value = torch.tensor(rank + 1)
    dist.all_reduce(value)
    return int(value), os.environ['GLOO_SOCKET_IFNAME']


def node(rank, hosts, pipe):
    torch.set_num_threads(1)
    if ctypes.CDLL(None).unshare(NEW_NET | NEW_MOUNTS):
        os._exit(1)  # not allowed
    pipe.send('has a network of its own')
    pipe.recv()
    enter_node(rank, hosts)
    pipe.send('is connected')
    pipe.recv()
    try:
        pipe.send(add_up(rank))
    except Exception as error:
        pipe.send(f'{type(error).__name__}: {error}')
    os._exit(0)


@LINUX
@pytest.mark.skipif(not shutil.which('ip'), reason='needs iproute2')
def test_nodes_whose_host_name_is_a_loopback_address(tmp_path, monkeypatch):
    monkeypatch.delenv('GLOO_SOCKET_IFNAME', raising=False)
    hosts = tmp_path / 'hosts'
    hosts.write_text(f'127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n')
    pipes, nodes = [], []
    for rank in range(2):
        ours, theirs = FORK.Pipe()
        nodes.append(FORK.Process(target=node, args=(rank, hosts, theirs)))
        nodes[-1].start()
        theirs.close()
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        ends = [('name', f'cable{i}', 'netns', str(node.pid)) for i, node in enumerate(nodes)]
        call('ip', 'link', 'add', *ends[0], 'type', 'veth', 'peer', *ends[1])
    except (EOFError, subprocess.CalledProcessError):
        for each in nodes:
            each.kill()
        pytest.skip('needs the right to make network namespaces')
    for _ in range(2):  # they go up, and meet
        for pipe in pipes:
            pipe.send('go on')
        found = [pipe.recv() for pipe in pipes if pipe.poll(60)]
        if found != ['is connected'] * 2:
            break
    for each in nodes:
        each.join(5)
        each.kill()
    assert found == [(3, 'cable0'), (3, 'cable1')]


@LINUX
@pytest.mark.parametrize('address', ['127.0.0.1', 'localhost', 'no-such-host.invalid', None])
def test_one_machine_needs_no_interface(address, monkeypatch):
    if address is None:
        monkeypatch.delenv('MASTER_ADDR', raising=False)
    else:
        monkeypatch.setenv('MASTER_ADDR', address)
    assert interface_to_master() is None
