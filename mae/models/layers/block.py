"""The pre-norm transformer block of ViT (Dosovitskiy et al. 2021), in timm's parameter names.

Shapes: B images, N tokens, Q queries, D width.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mae.models.layers.attention import Attention
from mae.utils.ratio import exact

NORM_EPS = 1e-6

# What the backward pass computes again instead of keeping it, which saves memory and costs time.
# 'cheap': GELU, and softmax where attention is done by plain products. 'blocks': whole blocks.
Recompute = Literal['nothing', 'cheap', 'blocks']


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
        if recompute not in get_args(Recompute):
            raise ValueError(f'recompute must be one of {get_args(Recompute)}, not {recompute!r}')
        self.checkpointed, cheap = recompute == 'blocks', recompute == 'cheap'
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, recompute=cheap)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * exact(mlp_ratio)), recompute=cheap)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """(B, N, D) to (B, Q, D); only the first Q = `num_queries` tokens act as queries."""
        if self.checkpointed and self.training:
            out: Tensor = checkpoint(self._branches, x, num_queries, use_reentrant=False)
            return out
        return self._branches(x, num_queries)

    def _branches(self, x: Tensor, num_queries: int | None) -> Tensor:
        x = self.drop_path(x[:, :num_queries], x, lambda x: self.attn(self.norm1(x), num_queries))
        out: Tensor = self.drop_path(x, x, lambda x: self.mlp(self.norm2(x)))
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between them; `recompute` does not keep the GELU's result."""

    def __init__(self, dim: int, hidden_dim: int, *, recompute: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return linear_of(self.act, x, self.fc2) if self.recompute else self.fc2(self.act(x))


def linear_of(cheap: Callable[[Tensor], Tensor], x: Tensor, linear: nn.Linear) -> Tensor:
    """`linear(cheap(x))`, whose backward pass computes `cheap(x)` again, bit for bit.

    The product itself is not computed again: the second run stops at the last value that the
    gradients need, which is the product's input.
    """

    def product(x: Tensor) -> Tensor:
        out: Tensor = linear(cheap(x))
        return out

    return checkpoint(product, x, use_reentrant=False, preserve_rng_state=False)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): skip a branch for some images of a batch.

    The images are drawn on the CPU, so that their number is known without waiting for the device,
    and those skipped cost nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop_path_rate must lie in [0, 1), not {rate:g}')
        self.rate = rate

    def forward(self, residual: Tensor, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """`residual` + branch(`x`), (B, Q, D); in training the kept branches are scaled up."""
        if not self.training or self.rate == 0:
            return residual + branch(x)
        keep = 1 - self.rate
        draw = torch.rand(len(x), device='cpu') < keep
        if torch.compiler.is_compiling():  # needs one shape: the branch runs for all images
            scale = (draw / keep).to(x.device)[:, None, None]
            return residual + branch(x) * scale.to(x.dtype)
        if draw.all():  # frequent at small rates and batches: saves copies of what is kept
            return torch.add(residual, branch(x), alpha=1 / keep)
        kept = draw.nonzero().flatten().to(x.device, non_blocking=True)
        out = branch(x.index_select(0, kept)).to(residual.dtype)
        return residual.index_add(0, kept, out, alpha=1 / keep)


def to_bf16(x: Tensor) -> Tensor:
    """The residual stream `x` in bfloat16 under autocast to it, else as it is. Changed maths.

    It takes half the memory. Autocast runs products in bfloat16 but adds their results to a float32
    stream. A stream that starts in bfloat16 stays so, because every branch ends in a product.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        return x.to(torch.bfloat16)
    return x
