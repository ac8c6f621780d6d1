"""The pre-norm transformer block of ViT (Dosovitskiy et al. 2021), in timm's parameter names.

Shapes: B images, N tokens, Q queries, D width.
"""

from torch import Tensor, nn

from mae.models.layers.attention import Attention
from mae.models.layers.drop_path import DropPath
from mae.models.layers.mlp import Mlp
from mae.models.layers.recompute import Recompute, check_recompute, keeping_inputs
from mae.utils.ratio import exact

NORM_EPS = 1e-6


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
        recompute: Recompute = 'nothing',
    ) -> None:
        super().__init__()
        check_recompute(recompute)
        self.checkpointed, cheap = recompute == 'blocks', recompute == 'cheap'
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, recompute=cheap)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * exact(mlp_ratio)), recompute=cheap)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); only the first Q = `num_queries` tokens act as queries."""
        if self.checkpointed and self.training:
            return keeping_inputs(self._branches, x, num_queries)
        return self._branches(x, num_queries)

    def _branches(self, x: Tensor, num_queries: int | None) -> Tensor:
        x = self.drop_path(x[:, :num_queries], x, lambda x: self.attn(self.norm1(x), num_queries))
        out: Tensor = self.drop_path(x, x, lambda x: self.mlp(self.norm2(x)))
        return out
