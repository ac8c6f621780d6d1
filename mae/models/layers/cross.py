"""The block of a decoder whose queries see a memory, and never each other.

Shapes: B images, Q queries, N tokens of the memory, D width.
"""

from torch import Tensor, nn

from mae.models.layers.attention import attend
from mae.models.layers.block import NORM_EPS, Mlp


class CrossAttention(nn.Module):
    """Multi-head attention of queries to a memory."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'a width of {dim} does not split into {num_heads} heads')
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, Q, D) and a memory (B, N, D) to (B, Q, D)."""
        (q,), (k, v) = self._heads(self.q(x), 1), self._heads(self.kv(memory), 2)
        out: Tensor = self.proj(attend(q, k, v).transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, N, parts*D) to `parts` tensors (B, heads, N, D / heads)."""
        B, N, _ = x.shape
        return x.reshape(B, N, parts, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class CrossBlock(nn.Module):
    """Attention to the memory, then MLP, each after a LayerNorm and added to the queries."""

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, Q, D) and a normalised memory (B, N, D) to (B, Q, D)."""
        x = x + self.attn(self.norm1(x), memory)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
