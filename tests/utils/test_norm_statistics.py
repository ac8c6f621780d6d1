"""Statistics of batch norms on three processes: their mean, exactly where they are equal."""

import json
import multiprocessing
import os
import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mae.apis import load_config
from mae.utils.norm_statistics import average, norm_buffers, statistics_of_process

FORK = multiprocessing.get_context('fork')


def model():
    return nn.ModuleDict(
        {
            'plain': nn.BatchNorm1d(2, affine=False, momentum=1.0),
            'wide': nn.BatchNorm1d(2, momentum=1.0).double(),
            'untracked': nn.BatchNorm1d(2, track_running_stats=False),
            'together': nn.SyncBatchNorm(2),
            'layer': nn.LayerNorm(2),
        }
    )


def test_which_buffers():
    parts = model()
    parts.register_buffer('constant', torch.ones(3))
    plain, wide = parts['plain'], parts['wide']
    mine = [plain.running_mean, plain.running_var, wide.running_mean, wide.running_var]
    found = statistics_of_process(parts)
    assert [id(buffer) for buffer in found] == [id(buffer) for buffer in mine]
    assert len(norm_buffers(parts)) == 9  # with counts, and SyncBatchNorm's


def child(rank, port, folder):
    os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=3)
    parts = model()
    for name in ('plain', 'wide'):
        images = torch.tensor([[0.0, 1.0], [2.0, 5.0]]) * (rank + 1)
        parts[name](images.double() if name == 'wide' else images)
    third = torch.tensor([0.1, 1 / 3])  # three times a third in float32 is not one
    parts['plain'].running_mean.copy_(third)
    average(statistics_of_process(parts))
    found = {
        'equal': torch.equal(parts['plain'].running_mean, third),
        'plain': parts['plain'].running_var.tolist(),
        'wide': parts['wide'].running_mean.tolist(),
        'count': int(parts['plain'].num_batches_tracked),
    }
    (folder / f'{rank}.json').write_text(json.dumps(found))
    dist.destroy_process_group()
    os._exit(0)


def test_the_mean_over_the_processes(tmp_path):
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        port = place.getsockname()[1]
    processes = [FORK.Process(target=child, args=(rank, port, tmp_path)) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(3)]
    assert found[0] == found[1] == found[2]
    assert found[0]['equal']
    assert found[0]['count'] == 1
    assert found[0]['wide'] == [2.0, 6.0]  # of 1, 2, 3 and 3, 6, 9
    assert found[0]['plain'] == pytest.approx([2 * 14 / 3, 8 * 14 / 3])  # 1, 4 and 9 times


def test_one_process_keeps_its_own():
    norm = nn.BatchNorm1d(2)
    norm(torch.randn(8, 2))
    before = norm.running_mean.clone()
    average(statistics_of_process(norm))
    assert torch.equal(norm.running_mean, before)


def test_no_config_averages_a_second_time():
    config = load_config('vit-base-p16_linear-8xb2048-amp-coslr-90e_in1k')
    assert not config.get('custom_hooks')
