import pytest
import torch
from torch import nn

from mae.benchmark.memory import (
    activation_bytes,
    activation_bytes_per_image,
    require_memory,
    static_bytes,
)

CPU = torch.device('cpu')


def two_layers():
    model = nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    inputs = torch.randn(6, 8)
    return model, lambda size: model(inputs[:size].clone()).sum()


def test_bytes_kept_for_the_backward_pass():
    model, loss = two_layers()
    # of each row: 8 inputs of the first layer, and 4 that ReLU and the second layer share
    assert activation_bytes(loss, model, 6, CPU) == 6 * (8 + 4) * 4
    assert activation_bytes_per_image(loss, model, 6, CPU) == (6 * 12 * 4, 12 * 4)


def test_what_does_not_grow_with_the_batch_is_no_cost_of_an_image():
    model, loss = two_layers()
    extra = torch.randn(1000, requires_grad=True)

    def with_constant(size):
        return loss(size) + (extra.exp() ** 2).sum()

    whole, each = activation_bytes_per_image(with_constant, model, 6, CPU)
    assert each == 12 * 4
    assert whole == 6 * 12 * 4 + 1000 * 4


def test_weights_gradients_and_two_averages():
    model, _ = two_layers()
    model[2].requires_grad_(False)
    assert static_bytes(model) == 4 * (4 * 32 + 8)


def test_refusal_says_how_much():
    require_memory(5, None, 'x', 'y')
    require_memory(5, 5, 'x', 'y')
    with pytest.raises(ValueError, match=r'batch .* 3\.0 GiB .* 1\.0 GiB .*: less'):
        require_memory(3 * 2**30, 2**30, 'a batch', 'less')
