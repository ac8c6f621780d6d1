"""The pre-norm transformer block of ViT (Dosovitskiy et al. 2021), in timm's parameter names.

Shapes: B images, N tokens, Q queries, D width.
"""

from torch import Tensor, nn

from mae.models.layers.attention import Attention
from mae.models.layers.drop_path import DropPath

NORM_EPS = 1e-6


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention, then MLP, each after a LayerNorm and added to its input."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = NORM_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); with `num_queries` only the first Q tokens go on."""
        x = self.drop_path(x[:, :num_queries], x, lambda x: self.attn(self.norm1(x), num_queries))
        out: Tensor = self.drop_path(x, x, lambda x: self.mlp(self.norm2(x)))
        return out
