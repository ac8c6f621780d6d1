"""The explicit gradient against the fused kernel's, and what it keeps for it."""

import pytest
import torch
import torch.nn.functional as F

from mae.benchmark.memory import kept_bytes
from mae.models.layers import attention
from mae.models.layers.attention import ProductAttention, split_heads

B, H, N, Q, D = 5, 3, 7, 4, 12


def projections(queries, dtype=torch.float64):
    widths = [(N, 3 * D)] if queries is None else [(queries, D), (N, 2 * D)]
    return [torch.randn(B, *shape, dtype=dtype, requires_grad=True) for shape in widths]


def fused(projected):
    return F.scaled_dot_product_attention(*split_heads(projected, H)).transpose(1, 2).flatten(2)


@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize('queries', [None, Q])
@pytest.mark.parametrize('images', [1, 2, 5, 16])
def test_values_and_gradients_are_the_fused_kernels(monkeypatch, images, queries, recompute):
    monkeypatch.setattr(attention, '_SCORES_BYTES', images * H * (queries or N) * N * 8)
    projected = projections(queries)
    out, expected = ProductAttention.apply(H, recompute, *projected), fused(tuple(projected))
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    grads = torch.autograd.grad((out * weights).sum(), projected)
    torch.testing.assert_close(grads, torch.autograd.grad((expected * weights).sum(), projected))


def test_gradient_by_finite_differences():
    assert torch.autograd.gradcheck(
        lambda x: ProductAttention.apply(H, False, x), projections(None)
    )


def test_a_gradient_that_is_not_contiguous():
    """As of a sum, whose gradient is one expanded number."""
    projected = projections(None)
    grads = torch.autograd.grad(ProductAttention.apply(H, False, *projected).sum(), projected)
    expected = torch.autograd.grad(fused(tuple(projected)).sum(), projected)
    torch.testing.assert_close(grads, expected)


def test_autocast_keeps_bfloat16():
    """Autocast would run the softmax in float32, and keep it in twice the memory."""
    projected = projections(None, torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        out = ProductAttention.apply(H, False, *projected)
    assert out.dtype == torch.bfloat16
    assert {t.dtype for t in out.grad_fn.saved_tensors} == {torch.bfloat16}
    torch.testing.assert_close(out, fused(tuple(projected)), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(('recompute', 'kept'), [(False, 3 * N * D + H * N * N), (True, 3 * N * D)])
@pytest.mark.parametrize('images', [2, 5])
def test_keeps_heads_and_softmax_or_heads_alone(monkeypatch, images, recompute, kept):
    """Where one image is left over, too, whose heads could be views of all projections."""
    monkeypatch.setattr(attention, '_SCORES_BYTES', images * H * N * N * 8)
    projected = projections(None)
    found = kept_bytes(lambda: ProductAttention.apply(H, recompute, *projected))
    assert found == 8 * B * kept
