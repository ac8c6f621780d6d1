"""What the processes of a step really send and hold, a line of JSON for each `PARALLEL:PROCESSES`.

To be run in a network namespace of its own, whose loopback nobody else uses:

    unshare -Urn sh -c 'ip link set lo up; python -m tests.benchmark.cluster_step ddp:2 fsdp:4'
"""

import json
import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import mae.datasets
import mae.models
from mae.apis import load_config
from mae.benchmark.ours import build_model, build_optim_wrapper
from mae.benchmark.settings import Settings
from mae.engine.sharding import Parallelism, shard
from mae.utils.sharded import local
from tests.benchmark.conftest import PRETRAIN

assert mae.datasets
assert mae.models

CHANGES = {
    'model.encoder.arch': {'embed_dim': 192, 'depth': 4, 'num_heads': 4},
    'model.decoder.embed_dim': 192,
    'model.decoder.num_heads': 4,
}


def loopback_bytes():
    with open('/proc/net/dev', encoding='utf-8') as file:
        return next(int(line.split()[1]) for line in file if line.strip().startswith('lo:'))


def loopback_bytes_together():
    """While no process sends."""
    dist.barrier()
    found = loopback_bytes()
    dist.barrier()
    return found


def local_bytes(tensors):
    return sum(x.numel() * x.element_size() for x in map(local, tensors))


class Loss(torch.nn.Module):
    """The loss as a forward pass, which the wrappers of both kinds hook into."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        keys = torch.arange(len(images))
        batch = {'inputs': images, 'keys': keys, 'labels': keys, 'ids': keys}
        return self.model(**self.model.data_preprocessor(batch, True), mode='loss')['loss']


def step(rank, parallel, world):
    """Figures of the second step, whose collectives find all connections open."""
    dist.init_process_group('gloo', rank=rank, world_size=world)
    settings = Settings(load_config(PRETRAIN, CHANGES), 4, torch.device('cpu'), torch.float32)
    loss, buckets = Loss(build_model(settings)), []

    def count_bucket(group, bucket):
        buckets.append(bucket.buffer().numel() * bucket.buffer().element_size())
        future = dist.all_reduce(bucket.buffer(), group=group, async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    if parallel == 'fsdp':
        shard(loss.model, Parallelism(type='fsdp'))
        wrapped = loss
        optimizer = build_optim_wrapper(settings, loss.model).optimizer
    else:
        optimizer = build_optim_wrapper(settings, loss.model).optimizer
        wrapped = DistributedDataParallel(loss, gradient_as_bucket_view=True)
        wrapped.register_comm_hook(dist.group.WORLD, count_bucket)
    images = torch.zeros(4, loss.model.encoder.in_channels, 16, 16, dtype=torch.uint8)
    for _ in range(2):
        buckets.clear()
        before = loopback_bytes_together()
        wrapped(images).backward()
        sent = loopback_bytes_together() - before
        optimizer.step()
    parameters = list(loss.model.parameters())
    states = [x for state in optimizer.state.values() for x in state.values() if x.ndim]
    return {
        'sent': sent,
        'buckets': sum(buckets),
        'root': local_bytes(p for name, p in loss.named_parameters() if '.blocks.' not in name),
        'weights': local_bytes(parameters),
        'gradients': local_bytes([p.grad for p in parameters if p.grad is not None]),
        'optimizer': local_bytes(states),
    }


def run_case(parallel, world):
    """Fork the processes, so that they share the imports."""
    children = []
    for rank in range(world):
        if not (child := os.fork()):
            figures = step(rank, parallel, world)
            if rank == 0:
                print(json.dumps(figures), flush=True)
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        sys.exit(1)


if __name__ == '__main__':
    torch.set_num_threads(1)
    os.environ |= {'MASTER_ADDR': '127.0.0.1', 'GLOO_SOCKET_IFNAME': 'lo'}
    for number, case in enumerate(sys.argv[1:]):
        os.environ['MASTER_PORT'] = str(29500 + number)
        kind, processes = case.split(':')
        run_case(kind, int(processes))
