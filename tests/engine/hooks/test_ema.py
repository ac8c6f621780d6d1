"""The average of the weights, all at once: mmengine's, bit for bit, whoever decides."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mae.engine.hooks.ema import update_average


class Calls(TorchDispatchMode):
    """How often each operator is called."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split('.')[0]
        self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[False, True], ids=['parameters', 'buffers too'])
def pair(request):
    """A model, and mmengine's average of it after its first step."""
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    average = ExponentialMovingAverage(model, momentum=0.1, update_buffers=request.param)
    average.update_parameters(model)
    return model, average


def change(model):
    with torch.no_grad():
        for value in [*model.parameters(), model[1].running_mean]:
            value.add_(torch.randn_like(value))
        model[1].num_batches_tracked += 1


def test_mmengines_bits(pair):
    model, average = pair
    theirs = copy.deepcopy(average)
    theirs.avg_parameters = (
        theirs.module.state_dict()
        if average.update_buffers
        else dict(theirs.module.named_parameters())
    )
    for _ in range(3):
        change(model)
        update_average(average, model)
        theirs.update_parameters(model)
    for name, value in theirs.state_dict().items():
        assert torch.equal(average.state_dict()[name], value), name
    assert average.steps == 4


def test_the_device_decides(pair):
    model, average = pair
    change(model)
    before = copy.deepcopy(average.state_dict())
    update_average(average, model, torch.ones(()))
    for name, value in average.module.named_parameters():
        assert torch.equal(value, before[f'module.{name}']), name  # skipped
    update_average(average, model, torch.zeros(()))
    for name, value in average.module.named_parameters():
        expected = before[f'module.{name}'].lerp(model.get_parameter(name), 0.1)
        assert torch.equal(value, expected), name


@pytest.mark.parametrize('skipped', [None, torch.zeros(())], ids=['host', 'device'])
def test_one_call_for_all_weights(skipped):
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(20)))
    average = ExponentialMovingAverage(model)
    average.update_parameters(model)
    with Calls() as calls:
        update_average(average, model, skipped)
    del calls.counts['aten::detach']  # a view, which takes no kernel
    assert max(calls.counts.values()) <= 3


def test_only_every_interval_counts():
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, momentum=0.5, interval=2)
    average.update_parameters(model)
    change_of = average.module.weight.clone()
    with torch.no_grad():
        model.weight.add_(1)
    update_average(average, model)  # step 1
    assert torch.equal(average.module.weight, change_of)
    update_average(average, model)  # step 2
    torch.testing.assert_close(average.module.weight, change_of + 0.5)
