"""A transformer block whose queries attend to a memory, and not to each other.

Shapes: B images, Q queries, N tokens of the memory, D width.
"""

from torch import Tensor, nn

from mae.models.layers.attention import attend, check_heads
from mae.models.layers.block import NORM_EPS, Mlp
from mae.models.layers.linear import AmpLinear
from mae.utils.ratio import exact


class CrossAttention(nn.Module):
    """Multi-head attention of queries to a memory."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = AmpLinear(dim, dim)
        self.kv = AmpLinear(dim, 2 * dim)
        self.proj = AmpLinear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, Q, D) and a memory (B, N, D) to (B, Q, D)."""
        out: Tensor = self.proj(attend(self.num_heads, self.q(x), self.kv(memory)))
        return out


class CrossBlock(nn.Module):
    """Attention to the memory, then MLP, each after a LayerNorm and added to the queries."""

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * exact(mlp_ratio)))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, Q, D) and a normalised memory (B, N, D) to (B, Q, D)."""
        x = x + self.attn(self.norm1(x), memory)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
