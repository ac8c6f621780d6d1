import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mae.models.encoders import ViTEncoder
from mae.models.layers import attention_backends
from mae.models.layers.attention import Attention, attend, split_heads
from mae.models.layers.attention_backends import Measured, choose_backend
from mae.models.layers.block import Block


class Names(TorchDispatchMode):
    """Names of all operators."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


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


@pytest.mark.parametrize('queries', [None, 3])
def test_gradients_of_heads_are_put_into_place_at_once(queries):
    """One stack for each projection and no copy of it, and the same bits as with one."""
    widths = [(7, 36)] if queries is None else [(3, 12), (7, 24)]
    results = []
    for split in (split_heads, permuted_heads):
        torch.manual_seed(0)
        projected = tuple(torch.randn(2, *size, requires_grad=True) for size in widths)
        q, k, v = split(projected, 3)
        out = F.scaled_dot_product_attention(q, k, v)
        with Names() as seen:
            grads = torch.autograd.grad(out.square().sum(), projected)
        results.append((out, *grads))
        copies = seen.found.count('clone') + seen.found.count('_reshape_copy')
        assert copies == (0 if split is split_heads else len(widths))
        assert seen.found.count('stack') == len(widths)
    for here, there in zip(*results, strict=True):
        assert torch.equal(here, there)


def permuted_heads(projected, num_heads):
    """As `split_heads` was, with its order of dimensions changed before the parts are taken."""
    return tuple(
        part
        for x in projected
        for part in x.unflatten(-1, (-1, num_heads, 4)).permute(2, 0, 3, 1, 4)
    )


@pytest.mark.parametrize('backend', ['products', 'flash', 'math'])
def test_every_backend_of_a_cpu_computes_the_same(backend):
    packed = torch.randn(2, 7, 3 * 12, requires_grad=True)
    torch.testing.assert_close(attend(3, packed, backend=backend), attend(3, packed))


def test_backends_are_taken_from_the_table(monkeypatch):
    rows = (
        Measured('cpu', torch.float32, 32, 64, 'products'),
        Measured('cpu', torch.float32, None, None, 'math'),
    )
    monkeypatch.setattr(attention_backends, 'TABLE', rows)
    monkeypatch.setattr(attention_backends, '_AVX512', False)
    keys = torch.zeros(2, 64, 96, requires_grad=True)
    assert choose_backend('auto', keys, 32) == ('products',)
    assert choose_backend('auto', keys, 64) == ('math',)
    longer = torch.zeros(2, 65, 96, requires_grad=True)
    assert choose_backend('auto', longer, 32) == ('math',)
    assert choose_backend('auto', longer.bfloat16(), 32) == ('auto',)
    assert choose_backend('auto', longer.detach(), 32) == ('auto',)  # measured with a gradient
    assert choose_backend('flash', longer, 32) == ('flash',)


def test_what_is_not_deterministic_is_left_out_where_that_matters():
    """On tensors that are not on the CPU, as `randomness.deterministic=True` asks for."""
    keys = torch.zeros(2, 7, 36, device='meta', requires_grad=True)
    assert choose_backend('auto', keys, 4) == ('auto',)
    torch.use_deterministic_algorithms(True)
    try:
        assert choose_backend('auto', keys, 4) == ('flash', 'math')
        assert choose_backend('auto', torch.zeros(2, 7, 36), 4) == ('auto',)
        with pytest.raises(ValueError, match=r"^attention_backend='cudnn' is not deterministic"):
            choose_backend('cudnn', keys, 4)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_backend_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"^attention_backend must be one of auto, .*'flush'$"):
        ViTEncoder('tiny', attention_backend='flush')
    with pytest.raises(ValueError, match=r"^attention_backend='cudnn' needs a GPU; on a CPU"):
        Attention(12, 3, backend='cudnn')(torch.zeros(2, 7, 12))


def test_a_dry_run_counts_the_kernel():
    """Tensors without values take the way of a GPU, also on a CPU where products are faster."""
    with FakeTensorMode(), Names() as seen:
        attend(3, torch.zeros(2, 7, 36, dtype=torch.bfloat16, requires_grad=True))
    assert any('scaled_dot_product' in name for name in seen.found)
    assert 'bmm' not in seen.found
