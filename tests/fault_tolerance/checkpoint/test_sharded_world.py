"""Checkpoints of several processes: of a sharded model, of one that all have, and in turns."""

import multiprocessing
import re
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from mae.fault_tolerance.checkpoint.background import Snapshot, Writer
from mae.fault_tolerance.checkpoint.manifest import read_manifest
from mae.fault_tolerance.checkpoint.parts import Parts
from mae.fault_tolerance.checkpoint.save import settle
from mae.fault_tolerance.checkpoint.save_group import SaveGroup
from mae.fault_tolerance.checkpoint.sharded_load import ShardLayout, load_sharded, read_sharded
from mae.fault_tolerance.checkpoint.sharded_save import save_sharded
from mae.utils.digest import weights_sha256
from tests.fault_tolerance.checkpoint.test_sharded import content, plain
from tests.faults.calls import failing

pytestmark = pytest.mark.filterwarnings('ignore:torch.distributed is disabled')


def in_processes(count, function, folder, *args):
    """Call `function(rank, ...)` in several processes, which have a process group."""
    context = multiprocessing.get_context('fork')
    folder.mkdir(exist_ok=True)
    store = folder / f'store-{function.__name__}-{count}'
    children = [
        context.Process(target=_joined, args=(function, rank, count, store, folder, *args))
        for rank in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(100)
    assert [child.exitcode for child in children] == [0] * count


def _joined(function, rank, count, store, *args):
    torch.set_num_threads(1)
    timeout = timedelta(seconds=60)
    dist.init_process_group('gloo', f'file://{store}', timeout, count, rank)
    function(rank, *args)
    dist.destroy_process_group()


def build(sharded):
    torch.manual_seed(0)
    # Five rows do not divide by the processes, and one row lies in one of them.
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
    model.register_buffer('mean', torch.zeros(()))
    if sharded:
        fully_shard(model[0])
        fully_shard(model)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(model, optimizer):
    model(torch.arange(12.0).view(3, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def save(model, optimizer, number, folder):
    """What `Saver` does: a copy, then the save of the copy. The model moves on in between."""
    parts = Parts.of({
        'meta': {'step': number},
        'state_dict': model.state_dict(),
        'optimizer': optimizer.state_dict(),
    })  # fmt: skip
    group = SaveGroup(60)
    parts.keep_own({name for name, _ in model.named_parameters()}, group.rank, group.count)
    parts.copy_to_host(Snapshot().take)
    step(model, optimizer)
    path = folder / f'iter_{number}.dcp'
    save_sharded(parts, path, group, lambda record: settle(record, path))
    return parts


def begin(rank, folder):
    model, optimizer = build(sharded=True)
    step(model, optimizer)
    parts = save(model, optimizer, 1, folder)
    assert isinstance(parts.tensors['state_dict.0.weight'], DTensor)


def go_on(rank, folder, number, sharded):
    """Load the checkpoint of other processes, and save it again."""
    model, optimizer = build(sharded)
    params = [param for group in optimizer.param_groups for param in group['params']]
    path = folder / f'iter_{number}.dcp'
    found = read_sharded(path, ShardLayout(model, params))
    state = found['optimizer']['state'][0]['exp_avg']
    assert isinstance(state, DTensor) == sharded
    model.load_state_dict(found['state_dict'])
    optimizer.load_state_dict(found['optimizer'])
    assert weights_sha256(model.state_dict()) == read_manifest(path).weights_sha256
    save(model, optimizer, number + 1, folder)


def test_two_one_three_four_and_all_whole(tmp_path):
    in_processes(2, begin, tmp_path)
    go_on(0, tmp_path, 1, False)
    in_processes(3, go_on, tmp_path, 2, True)
    in_processes(4, go_on, tmp_path, 3, True)
    in_processes(2, go_on, tmp_path, 4, False)
    hashes = {read_manifest(tmp_path / f'iter_{n}.dcp').weights_sha256 for n in range(1, 6)}
    assert len(hashes) == 1
    contents = [load_sharded(tmp_path / f'iter_{n}.dcp') for n in range(1, 6)]
    for found in contents:
        assert found.pop('meta')
    assert all(plain(found) == plain(contents[0]) for found in contents)


def share(rank, folder):
    model, optimizer = build(sharded=False)
    model.mean += rank
    step(model, optimizer)
    tensors = save(model, optimizer, 1, folder).tensors
    names = dist.get_world_size() * [None]
    dist.all_gather_object(names, sorted(tensors))
    assert not set(names[0]) & set(names[1])
    assert 'state_dict.mean' in names[0]
    sizes = dist.get_world_size() * [None]
    dist.all_gather_object(sizes, sum(value.numel() for value in tensors.values()))
    assert abs(sizes[0] - sizes[1]) <= 20


def test_what_all_have_is_written_once(tmp_path):
    in_processes(2, share, tmp_path)
    found = load_sharded(tmp_path / 'iter_1.dcp')
    assert found['state_dict']['mean'] == 0  # of the first process, as in one file
    files = read_manifest(tmp_path / 'iter_1.dcp').files
    assert sorted(files) == ['.metadata', '__0_0.distcp', '__1_0.distcp', 'values.pth']


def fail(rank, folder):
    model, optimizer = build(sharded=True)
    step(model, optimizer)
    with failing(times=1 if rank else 0, after_bytes=0):
        with pytest.raises(OSError, match=r'No space left on device \(process 1\)'):
            save(model, optimizer, 1, folder)
        dist.barrier()  # the first process removes the folder
        assert not [path for path in folder.iterdir() if 'dcp' in path.name]
        save(model, optimizer, 2, folder)


def try_again(rank, folder):
    """The disk of one process refuses once: all try again."""
    group, writer, path = SaveGroup(60), Writer((0.01, 0.01)), folder / 'iter_1.dcp'
    with failing(times=1 if rank else 0, after_bytes=0):
        writer.submit(
            path.name,
            lambda: save_sharded(Parts.of(content(1)), path, group, lambda record: ['done']),
            retries=lambda wants: group.on_first(lambda: wants),
        )
        writer.wait()
    writer.raise_failure()
    first, last = writer.messages()
    assert re.search(r'iter_1.dcp could not be saved \(attempt 1\).*\(process 1\); trying', first)
    assert last == 'done'


def test_all_try_again(tmp_path):
    in_processes(2, try_again, tmp_path)
    found = load_sharded(tmp_path / 'iter_1.dcp')
    assert plain(found['optimizer']) == plain(content(1)['optimizer'])


def test_a_full_disk_of_one_process_is_an_error_in_all(tmp_path):
    in_processes(2, fail, tmp_path)
    assert read_manifest(tmp_path / 'iter_2.dcp').content.step == 2
