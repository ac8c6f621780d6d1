import pytest
import torch
import torch.nn.functional as F

from mae.models.layers.attention import Attention, attend, split_heads
from mae.models.layers.block import Block


@pytest.mark.parametrize('trains', [True, False])
def test_attend_is_the_fused_kernel(trains):
    packed = torch.randn(2, 7, 3 * 12, dtype=torch.float64, requires_grad=trains)
    q, k, v = split_heads((packed,), 3)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(3, packed), expected)


@pytest.mark.parametrize('layer', [Attention(12, 3), Block(12, 3)], ids=['attention', 'block'])
@pytest.mark.parametrize('queries', [1, 4, 7])
def test_few_queries_are_the_first_rows_of_all(layer, queries):
    layer = layer.double()
    x = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True)
    few, all_rows = layer(x, num_queries=queries), layer(x)[:, :queries]
    torch.testing.assert_close(few, all_rows)
    weights = torch.randn_like(few)
    wanted = [x, *layer.parameters()]
    grads = torch.autograd.grad((few * weights).sum(), wanted, retain_graph=True)
    expected = torch.autograd.grad((all_rows * weights).sum(), wanted)
    # The gradient of a key's bias is zero but for rounding: softmax ignores a shift.
    torch.testing.assert_close(grads, expected, rtol=1e-9, atol=1e-12)


def test_order_of_tokens_does_not_matter():
    layer = Block(12, 3).double()
    x, order = torch.randn(2, 7, 12, dtype=torch.float64), torch.randperm(7)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r'^a width of 12 .* 5 heads'):
        Attention(12, 5)
