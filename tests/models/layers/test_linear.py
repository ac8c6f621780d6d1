"""A linear layer computes with copies of its weights what autocast computes."""

import copy

import pytest
import torch
from torch import nn

from mae.models.layers.attention import Attention
from mae.models.layers.linear import AmpLinear


def with_copies(module, dtype):
    """The same module, whose layers have copies."""
    twin = copy.deepcopy(module)
    for layer in twin.modules():
        if isinstance(layer, AmpLinear):
            layer.weight_copies = tuple(x.detach().to(dtype) for x in (layer.weight, layer.bias))
    return twin


def results(module, x, dtype, **options):
    """Output and gradients of one pass under autocast to `dtype`; None: without."""
    x = x.clone().requires_grad_()
    with torch.autocast('cpu', dtype, enabled=dtype is not None):
        out = module(x, **options)
    out.float().square().sum().backward()
    return [out.detach(), x.grad, *(param.grad for param in module.parameters())]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('queries', [{}, {'num_queries': 2}], ids=['all', 'few queries'])
def test_the_same_bits_as_by_autocast(dtype, queries):
    torch.manual_seed(0)
    module, x = Attention(12, 3), torch.randn(2, 5, 12)
    expected = results(module, x, dtype, **queries)
    found = results(with_copies(module, dtype), x, dtype, **queries)
    assert all(map(torch.equal, found, expected))
    assert [value.dtype for value in found] == [value.dtype for value in expected]


def test_the_copies_are_what_is_read():
    module, x = AmpLinear(4, 3), torch.randn(2, 4)
    copied = with_copies(module, torch.bfloat16)
    nn.init.zeros_(copied.weight)
    expected = results(module, x, torch.bfloat16)[0]
    assert torch.equal(results(copied, x, torch.bfloat16)[0], expected)


def test_without_autocast_the_weights_are_read():
    module, x = AmpLinear(4, 3), torch.randn(2, 4)
    expected = results(module, x, None)
    assert all(map(torch.equal, results(with_copies(module, torch.bfloat16), x, None), expected))


def test_copies_are_no_part_of_the_state():
    module = with_copies(AmpLinear(4, 3), torch.bfloat16)
    assert list(module.state_dict()) == ['weight', 'bias']
    assert len(list(module.parameters())) == 2
