"""Multi-head self-attention in which only the leading tokens may ask (timm's parameter names).

Shapes: B images, N tokens, Q queries, D width, d = D / num_heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Measured, forward and backward. AVX2: the fused kernel takes 0.25 to 0.9 of the time of plain
# products at 5 to 197 tokens (in float32 at 101 tokens 1.2). AVX-512: products win in bfloat16 at
# every length (1.5 to 4.9 times), in float32 up to 101 tokens; at 130 and more the kernel does.
# Forward alone, the kernel takes 0.2 to 0.85 of the time in both types at 17 to 257 tokens.
_WITH_AVX512 = torch.backends.cpu.get_cpu_capability().startswith('AVX512')
_FLOAT32_PRODUCTS_UP_TO = 128


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (B, heads, Q or N, d).

    The fused kernel on a GPU; on a CPU what its instruction set and the length favour.
    """
    if not _products_win(q, k):
        return F.scaled_dot_product_attention(q, k, v)
    with torch.autocast(q.device.type, enabled=False):  # which would keep a float32 copy too
        scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # B,heads,Q,N
        return scores.softmax(dim=-1) @ v


def _products_win(q: Tensor, k: Tensor) -> bool:
    trains = torch.is_grad_enabled() and q.requires_grad
    if q.device.type != 'cpu' or not (_WITH_AVX512 and trains):
        return False
    return q.dtype == torch.bfloat16 or k.shape[-2] <= _FLOAT32_PRODUCTS_UP_TO


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'a width of {dim} does not split into {num_heads} heads')
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); with `num_queries` only the first Q tokens ask."""
        if num_queries is None:
            q, k, v = self._heads(self.qkv(x), 3)
        else:
            D = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            (q,) = self._heads(F.linear(x[:, :num_queries], weight[:D], bias[:D]), 1)
            k, v = self._heads(F.linear(x, weight[D:], bias[D:]), 2)
        out: Tensor = self.proj(attend(q, k, v).transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, N, parts*D) to `parts` tensors (B, heads, N, d)."""
        B, N, D = x.shape
        d = D // (parts * self.num_heads)
        return x.reshape(B, N, parts, self.num_heads, d).permute(2, 0, 3, 1, 4).unbind(0)
