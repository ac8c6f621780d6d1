"""The pre-norm transformer block of ViT (Dosovitskiy et al. 2021), in timm's parameter names.

Shapes: B images, N tokens, Q queries, D width.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mae.models.layers.attention import Attention
from mae.models.layers.attention_backends import Backend
from mae.models.layers.linear import AmpLinear
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
        attention_backend: Backend = 'auto',
    ) -> None:
        super().__init__()
        if recompute not in get_args(Recompute):
            raise ValueError(f'recompute must be one of {get_args(Recompute)}, not {recompute!r}')
        self.checkpointed, cheap = recompute == 'blocks', recompute == 'cheap'
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, recompute=cheap, backend=attention_backend)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * exact(mlp_ratio)), recompute=cheap)
        self.drop_path = DropPath(drop_path_rate)

    def forward(
        self, x: Tensor, num_queries: int | None = None, *, scales: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, N, D) to (B, Q, D).

        Args:
            x: (B, N, D).
            num_queries: only the first Q tokens act as queries; None: all.
            scales: (2, B), see `draw_paths`; None draws them if there is a rate.
        """
        return self._run(self._branches, x, num_queries, scales)

    def _run(
        self, branches: Callable[..., Tensor], x: Tensor, fact: Any, scales: Tensor | None
    ) -> Tensor:
        """`branches(x, fact, scales)`; if `checkpointed`, computed again in the backward pass.

        `fact` is the number of queries, or in a dense block the grid.
        """
        if scales is None:  # all draws are made here, so that the second run has the same
            scales = draw_paths([self], x)[0]
        if not (self.checkpointed and self.training):
            return branches(x, fact, scales)
        out: Tensor = checkpoint(
            branches, x, fact, scales, use_reentrant=False, preserve_rng_state=False
        )
        return out

    def _branches(self, x: Tensor, num_queries: int | None, scales: Tensor | None) -> Tensor:
        first, second = (None, None) if scales is None else scales.unbind()
        x = self.drop_path(
            x[:, :num_queries], x, lambda x: self.attn(self.norm1(x), num_queries), first
        )
        out: Tensor = self.drop_path(x, x, lambda x: self.mlp(self.norm2(x)), second)
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between them; `recompute` does not keep the GELU's result."""

    def __init__(self, dim: int, hidden_dim: int, *, recompute: bool = False) -> None:
        super().__init__()
        self.fc1 = AmpLinear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = AmpLinear(hidden_dim, dim)
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

    On a CPU those skipped cost nothing. On a GPU, where taking images out of the stream and adding
    them back reads and writes more than is saved, and in a compiled block the branch runs for all
    images: shapes stay fixed, and blocks of all rates share one graph.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop_path_rate must lie in [0, 1), not {rate:g}')
        self.rate = rate

    def forward(
        self,
        residual: Tensor,
        x: Tensor,
        branch: Callable[[Tensor], Tensor],
        scale: Tensor | None = None,
    ) -> Tensor:
        """`residual` + branch(`x`), (B, Q, D); in training branches are skipped or scaled up.

        Args:
            residual: (B, Q, D).
            x: (B, N, D).
            branch: (b, N, D) to (b, Q, D), of any images.
            scale: float32 (B,), from `draw_paths`: 0 skips the branch of an image; None keeps all.
        """
        if scale is None or not self.training:
            return residual + branch(x)
        if torch.compiler.is_compiling():
            return (residual + branch(x) * scale[:, None, None]).to(residual.dtype)
        if scale.device.type != 'cpu' or isinstance(scale, FakeTensor):  # no values to look at
            out: Tensor = AddScaled.apply(residual, branch(x), scale[:, None, None])
            return out
        if self.rate == 0:
            return residual + branch(x)
        kept, alpha = scale.nonzero().flatten(), 1 / (1 - self.rate)
        if len(kept) == len(x):  # frequent at small rates and batches: saves copies of what is kept
            return torch.add(residual, branch(x), alpha=alpha)
        part = branch(x.index_select(0, kept)).to(residual.dtype)
        return residual.index_add(0, kept, part, alpha=alpha)


class AddScaled(torch.autograd.Function):
    """residual + branch * scale: no more reading and writing than a plain sum, forward or back."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, branch: Tensor, scale: Tensor) -> Tensor:
        """(B, Q, D) in the type of `residual`; `scale` is (B, 1, 1)."""
        ctx.save_for_backward(scale)
        ctx.dtype = branch.dtype
        # With `out`, because autocast would copy the branch to float32 first.
        return torch.addcmul(residual, branch, scale, out=torch.empty_like(residual))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of residual and branch, each in its type."""
        (scale,) = ctx.saved_tensors
        grad = torch.empty_like(grad_out, dtype=ctx.dtype)
        return grad_out, torch.mul(grad_out, scale, out=grad), None


def draw_paths(blocks: Iterable[Any], x: Tensor) -> list[Tensor | None]:
    """What `DropPath` multiplies the two branches of each block with, float32 (2, B) on x's device.

    All draws of a step in one copy to the device, for which nobody waits. They come from the CPU's
    generator in the order of the blocks, so that they do not depend on the device.

    Args:
        blocks: `Block`s in the order in which they run; in evaluation mode or of rate 0 one draws
            nothing.
        x: (B, N, D), tokens of the images.
    """
    blocks = list(blocks)
    rates = [block.drop_path.rate if block.training else 0.0 for block in blocks]
    if not any(rates):
        return [None] * len(blocks)
    drawn = [number for number, rate in enumerate(rates) if rate]
    keep = torch.tensor([1 - rates[number] for number in drawn], device='cpu')[:, None, None]
    alpha = torch.tensor([1 / (1 - rates[number]) for number in drawn], device='cpu')
    scales = torch.ones(len(blocks), 2, len(x), device='cpu')
    draws = torch.rand(len(drawn), 2, len(x), device='cpu') < keep
    scales[drawn] = draws * alpha[:, None, None]
    if x.is_cuda and not isinstance(x, FakeTensor):
        scales = scales.pin_memory()
    return list(scales.to(x.device, non_blocking=True).unbind())


def drop_path_rates(last: float, depth: int) -> list[float]:
    """The rate of each block: it grows linearly from 0 in the first to `last`.

    Raises:
        ValueError: `last` lies outside [0, 1).
    """
    if not 0 <= last < 1:
        raise ValueError(f'drop_path_rate must lie in [0, 1), not {last:g}')
    with unset_fake_temporarily():  # of a model that is built without values too
        rates: list[float] = torch.linspace(0, last, depth, device='cpu').tolist()
    return rates


def to_bf16(x: Tensor) -> Tensor:
    """The residual stream `x` in bfloat16 under autocast to it, else as it is. Changed maths.

    It takes half the memory. Autocast runs products in bfloat16 but adds their results to a float32
    stream. A stream that starts in bfloat16 stays so, because every branch ends in a product.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        return x.to(torch.bfloat16)
    return x
