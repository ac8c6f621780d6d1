"""The first weights are drawn on the CPU, whatever the device: a function of the seed alone."""

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mae.engine.runner import init_on_cpu
from tests.forked import forked


class Net(nn.Module):
    def __init__(self, device):
        super().__init__()
        self.fc = nn.Linear(3, 2, device=device)
        self.register_buffer('scale', torch.ones(2, device=device), persistent=False)

    def init_weights(self):
        nn.init.normal_(self.fc.weight)
        nn.init.uniform_(self.fc.bias)


class Draws(TorchDispatchMode):
    """The devices on which random numbers are drawn."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.devices.append(args[0].device.type)
        return func(*args, **(kwargs or {}))


@forked  # torch then takes the machine for one with a GPU
def test_a_model_on_a_gpu_draws_on_the_cpu():
    with FakeTensorMode():
        model = Net('cuda')
        weight = model.fc.weight
        with Draws() as draws:
            init_on_cpu(model)
        assert draws.devices == ['cpu', 'cpu']
        assert model.fc.weight is weight  # the optimizer and the wrapper hold it
        assert weight.device.type == 'cuda'


@forked
def test_the_other_way_is_seen():
    with FakeTensorMode(), Draws() as draws:
        model = Net('cuda')
        draws.devices.clear()
        model.init_weights()
    assert set(draws.devices) == {'cuda'}


def test_on_the_cpu_nothing_is_copied():
    model = Net('cpu')
    torch.manual_seed(1)
    init_on_cpu(model)
    found = model.fc.weight.clone()
    torch.manual_seed(1)
    model.init_weights()
    assert torch.equal(model.fc.weight, found)
