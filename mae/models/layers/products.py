"""Attention by plain products, a few images at a time: what trains fastest on a CPU with AVX-512.

Shapes: B images, H heads, N tokens, Q queries, D width, d = D / H; c images at a time.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores at a time: they should stay in the cache between product, softmax and product.
# Measured with bfloat16 at 50 and 197 tokens, 1 to 16 images: 1.0 to 1.3 times all images at once.
_SCORES_BYTES = 5 << 20


def split_heads(projected: tuple[Tensor, ...], num_heads: int) -> tuple[Tensor, ...]:
    """Queries (B, H, Q, d), keys and values (B, H, N, d): views of (B, N, 3D), or of (B, Q, D) and
    (B, N, 2D)."""
    D = sum(x.shape[-1] for x in projected) // 3
    return tuple(
        part
        for x in projected
        for part in x.unflatten(-1, (-1, num_heads, D // num_heads)).permute(2, 0, 3, 1, 4)
    )


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, H, Q, d), all images at once: for compilers, which fuse scale and softmax themselves."""
    with torch.autocast(q.device.type, enabled=False):  # which would keep a float32 copy too
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
        with torch.autocast(q.device.type, enabled=False):  # whose softmax is in float32
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
