"""Multi-head self-attention whose queries may be the leading tokens only (timm's parameter names).

By one of PyTorch's kernels, or on a CPU with AVX-512 by plain products of a few images at a time:
`mae.models.layers.attention_backends` chooses.

Shapes: B images, H heads, N tokens, Q queries, D width, d = D / H; c images at a time.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mae.models.layers.attention_backends import (
    Backend,
    check_backend,
    choose_backend,
    kernel_attention,
)
from mae.models.layers.linear import AmpLinear

# Bytes of scores at a time, so that they stay in the cache from product to softmax to product.
# Measured with bfloat16 at 50 and 197 tokens, 1 to 16 images: 1.0 to 1.3 times all images at once.
_SCORES_BYTES = 5 << 20


def attend(
    num_heads: int, *projected: Tensor, recompute: bool = False, backend: Backend = 'auto'
) -> Tensor:
    """Multi-head attention, softmax(q k^T / sqrt(d)) v: (B, Q, D).

    Args:
        num_heads: H.
        projected: queries, keys and values as (B, N, 3D), or queries (B, Q, D) and keys with values
            (B, N, 2D).
        recompute: True computes the softmax of plain products again in the backward pass instead
            of keeping it; the kernels never keep it.
        backend: what computes it; 'auto' takes what was fastest for this width, length and type.

    Raises:
        ValueError: the device does not have the `backend`, or it does not take these tensors.
    """
    keys = projected[-1]
    chosen = choose_backend(backend, keys, _width(projected) // num_heads)
    if chosen == ('products',):
        if not torch.compiler.is_compiling():
            out: Tensor = ProductAttention.apply(num_heads, recompute, *projected)
            return out
        return plain_attention(*split_heads(projected, num_heads)).transpose(1, 2).flatten(2)
    q, k, v = split_heads(projected, num_heads)
    return kernel_attention(q, k, v, chosen).transpose(1, 2).flatten(2)


def _width(projected: tuple[Tensor, ...]) -> int:
    """D of what `attend` takes."""
    return sum(x.shape[-1] for x in projected) // 3


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(
        self, dim: int, num_heads: int, *, recompute: bool = False, backend: Backend = 'auto'
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        check_backend(backend)
        self.num_heads = num_heads
        self.recompute = recompute
        self.backend = backend
        self.qkv = AmpLinear(dim, 3 * dim)
        self.proj = AmpLinear(dim, dim)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); only the first Q = `num_queries` tokens act as queries."""
        projected = self._projected(x, num_queries)
        heads = attend(self.num_heads, *projected, recompute=self.recompute, backend=self.backend)
        out: Tensor = self.proj(heads)
        return out

    def _projected(self, x: Tensor, num_queries: int | None) -> tuple[Tensor, ...]:
        if num_queries is None:
            return (self.qkv(x),)
        D, (weight, bias) = x.shape[-1], self.qkv.weights()
        q = F.linear(x[:, :num_queries], weight[:D], bias[:D])
        return q, F.linear(x, weight[D:], bias[D:])


def check_heads(dim: int, num_heads: int) -> None:
    """Refuse a number of heads that does not divide the width.

    Raises:
        ValueError: names both.
    """
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f'a width of {dim} does not split into {num_heads} heads')


def split_heads(projected: tuple[Tensor, ...], num_heads: int) -> tuple[Tensor, ...]:
    """Queries (B, H, Q, d), keys and values (B, H, N, d): views of what `attend` takes."""
    D = _width(projected)
    # Split where the parts lie beside each other: the backward pass stacks them there at once. Of a
    # permuted tensor it would stack them in front, and then copy all of them into place.
    return tuple(
        part.transpose(1, 2)
        for x in projected
        for part in x.unflatten(-1, (-1, num_heads, D // num_heads)).unbind(2)
    )


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, H, Q, d) of all images at once; compilers fuse scale and softmax."""
    with torch.autocast(q.device.type, enabled=False):  # autocast would keep a float32 copy too
        scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # B,H,Q,N
        return scores.softmax(dim=-1) @ v


class ProductAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v with a gradient of its own, of first order only."""

    @staticmethod
    def forward(ctx: Any, num_heads: int, recompute: bool, *projected: Tensor) -> Tensor:
        """`projected` as `split_heads` takes them to (B, Q, D).

        With `recompute` the softmax is not kept for the backward pass but computed again.
        """
        q, k, v = split_heads(projected, num_heads)
        B, H, Q, d = q.shape
        out = q.new_empty(B, Q, H, d)
        kept: list[Tensor] = []
        with torch.autocast(q.device.type, enabled=False):  # autocast computes softmax in float32
            for images in _few_images(q, k):
                heads = [x[images].flatten(0, 1).contiguous() for x in (q, k, v)]  # c*H,Q or N,d
                weights = _weights(heads[0], heads[1])  # c*H,Q,N
                out[images] = (weights @ heads[2]).view(-1, H, Q, d).transpose(1, 2)
                kept += [*heads] if recompute else [*heads, weights]
        ctx.save_for_backward(*kept)
        ctx.num_heads, ctx.recompute = num_heads, recompute
        ctx.shapes = [x.shape for x in projected]
        return out.view(B, Q, H * d)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of all `projected`."""
        grads = tuple(grad_out.new_empty(shape) for shape in ctx.shapes)
        grad_q, grad_k, grad_v = split_heads(grads, ctx.num_heads)
        B, H, Q, d = grad_q.shape
        grad_out = grad_out.view(B, Q, H, d).transpose(1, 2)
        kept = iter(ctx.saved_tensors)
        with torch.autocast(grad_out.device.type, enabled=False):
            for images in _few_images(grad_q, grad_k):
                q, k, v = next(kept), next(kept), next(kept)
                weights = _weights(q, k) if ctx.recompute else next(kept)
                grad = grad_out[images].reshape(-1, Q, d)
                grad_weights = grad @ v.transpose(1, 2)
                grad_scores = torch.ops.aten._softmax_backward_data(
                    grad_weights, weights, -1, weights.dtype
                )
                grad_v[images] = (weights.transpose(1, 2) @ grad).view(-1, *grad_v.shape[1:])
                grad_q[images] = _scaled(grad_scores, k, d).view(-1, *grad_q.shape[1:])
                grad_k[images] = _scaled(grad_scores.transpose(1, 2), q, d).view(
                    -1, *grad_k.shape[1:]
                )
        return None, None, *grads


def _few_images(q: Tensor, k: Tensor) -> Iterator[slice]:
    B, H, Q, _ = q.shape
    step = max(1, _SCORES_BYTES // (H * Q * k.shape[2] * q.element_size()))
    return (slice(start, start + step) for start in range(0, B, step))


def _weights(q: Tensor, k: Tensor) -> Tensor:
    return _scaled(q, k.transpose(1, 2), q.shape[-1]).softmax(dim=-1)


def _scaled(a: Tensor, b: Tensor, d: int) -> Tensor:
    """a b / sqrt(d), scaled before it is rounded."""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=d**-0.5)
