"""Between batches no metric waits for a GPU: with tensors that only seem to be on one."""

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mae.evaluation import Accuracy, GridAccuracy, ReconstructionLoss
from tests.forked import forked


class Copies(TorchDispatchMode):
    """Operators whose tensors lie on two devices, or that read a value back."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in (*args, out) if isinstance(x, torch.Tensor) and x.ndim + x.numel()]
        devices = {x.device.type for x in tensors}
        if len(devices) > 1 or 'cpu' in devices or func is torch.ops.aten._local_scalar_dense:
            self.found.append(func.name())
        return out


def batches(kind):
    if kind is ReconstructionLoss:
        return [{'reconstruction_loss': torch.empty(size, device='cuda')} for size in (8, 8, 5)]
    shape = (3, 10) if kind is GridAccuracy else (10,)
    return [
        {
            'logits': torch.empty(size, *shape, device='cuda'),
            'labels': torch.empty(size, dtype=torch.int64, device='cuda'),
            'lr_scales': [0.1, 1, 10],
        }
        for size in (8, 8, 5)
    ]


@pytest.mark.parametrize('kind', [Accuracy, GridAccuracy, ReconstructionLoss])
@forked  # torch then takes the machine for one with a GPU
def test_no_copy_and_no_question(kind):
    metric = kind()
    with FakeTensorMode():
        samples = batches(kind)
        with Copies() as copies:
            for sample in samples:
                metric.process(None, [sample])
    assert copies.found == []


@pytest.mark.parametrize(
    'way',
    [
        lambda x: torch.tensor(len(x), device='cuda'),
        lambda x: x.new_tensor(len(x)),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(8),
    ],
    ids=['tensor', 'new_tensor', 'cpu', 'mixed'],
)
@forked
def test_what_waits_would_be_seen(way):
    with FakeTensorMode():
        x = torch.empty(8, device='cuda')
        with Copies() as copies:
            try:
                way(x)
            except RuntimeError:  # two devices in one operator
                copies.found.append('refused')
    assert copies.found
