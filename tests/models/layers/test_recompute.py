import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mae.benchmark.memory import kept_bytes
from mae.models.layers.block import Block, Mlp, linear_of


def test_the_inner_function_runs_again_and_the_product_does_not():
    calls = []
    x = torch.randn(2, 5, 4, requires_grad=True)
    linear = nn.Linear(4, 3)

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Counter():
        out = linear_of(nn.functional.gelu, x, linear)
        out.sum().backward()
    assert calls.count('gelu') == 2
    assert calls.count('addmm') == 1


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize('queries', [None, 3])
def test_a_block_that_recomputes_has_the_same_gradients(dtype, queries):
    torch.manual_seed(0)
    plain, slim = Block(12, 3), Block(12, 3, recompute='cheap')
    slim.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 12)
    grads = []
    for block in (plain, slim):
        with torch.autocast('cpu', dtype, enabled=dtype is not None):
            out = block(x, queries)
        out.square().sum().backward()
        grads.append([p.grad for p in block.parameters()])
    for expected, grad in zip(*grads, strict=True):
        assert torch.equal(expected, grad)


def test_the_inner_value_is_not_kept():
    x = torch.randn(64, 8)
    plain, slim = Mlp(8, 32), Mlp(8, 32, recompute=True)
    weight = 4 * 8 * 32  # of the last layer, which no longer keeps it either
    inner = 4 * 64 * 32
    assert kept_bytes(lambda: plain(x)) - kept_bytes(lambda: slim(x)) == inner + weight


def test_an_unknown_choice():
    with pytest.raises(ValueError, match=r"^recompute must be one of .*'cheap'.*, not 'all'$"):
        Block(12, 3, recompute='all')


def test_checkpointed_blocks_keep_their_inputs_only():
    x = torch.randn(2, 64, 12, requires_grad=True)
    assert kept_bytes(lambda: Block(12, 3, recompute='blocks')(x)) == 4 * x.numel()
