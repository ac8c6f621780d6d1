"""Multi-head self-attention whose queries may be the leading tokens only (timm's parameter names).

Shapes: B images, N tokens, Q queries, D width, d = D / num_heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.products import ProductAttention, plain_attention, split_heads

# Measured, forward and backward. AVX2: the fused kernel takes 0.25 to 0.9 of the time of plain
# products at 5 to 197 tokens (in float32 at 101 tokens 1.2). AVX-512: products win in bfloat16 at
# every length (1.5 to 4.9 times), in float32 up to 101 tokens; at 130 and more the kernel does.
# Forward alone, the kernel takes 0.2 to 0.85 of the time in both types at 17 to 257 tokens.
_WITH_AVX512 = torch.backends.cpu.get_cpu_capability().startswith('AVX512')
_FLOAT32_PRODUCTS_UP_TO = 128


def attend(num_heads: int, *projected: Tensor, recompute: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, (B, Q, D), of (B, N, 3D), or of (B, Q, D) and (B, N, 2D).

    The fused kernel on a GPU; on a CPU what its instruction set and the length favour. With
    `recompute` neither keeps the softmax for the backward pass; the kernel never does.
    """
    products = _products_win(projected[-1])
    if products and not torch.compiler.is_compiling():
        out: Tensor = ProductAttention.apply(num_heads, recompute, *projected)
        return out
    q, k, v = split_heads(projected, num_heads)
    attention = plain_attention if products else F.scaled_dot_product_attention
    return attention(q, k, v).transpose(1, 2).flatten(2)


def _products_win(keys: Tensor) -> bool:
    trains = torch.is_grad_enabled() and keys.requires_grad
    if keys.device.type != 'cpu' or not (_WITH_AVX512 and trains):
        return False
    return keys.dtype == torch.bfloat16 or keys.shape[1] <= _FLOAT32_PRODUCTS_UP_TO


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, num_heads: int, *, recompute: bool = False) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f'a width of {dim} does not split into {num_heads} heads')
        self.num_heads = num_heads
        self.recompute = recompute
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); only the first Q = `num_queries` tokens act as queries."""
        projected = self._projected(x, num_queries)
        out: Tensor = self.proj(attend(self.num_heads, *projected, recompute=self.recompute))
        return out

    def _projected(self, x: Tensor, num_queries: int | None) -> tuple[Tensor, ...]:
        if num_queries is None:
            return (self.qkv(x),)
        D, weight, bias = x.shape[-1], self.qkv.weight, self.qkv.bias
        q = F.linear(x[:, :num_queries], weight[:D], bias[:D])
        return q, F.linear(x, weight[D:], bias[D:])
