"""Stochastic depth (Huang et al. 2016, "Deep networks with stochastic depth").

Shapes: B images, Q tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drop a branch for some images of a batch.

    The images are drawn on the CPU, so that their number is known without waiting for the device,
    and those dropped cost nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop_path_rate must lie in [0, 1), not {rate:g}')
        self.rate = rate

    def forward(self, residual: Tensor, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """`residual` + branch(`x`), (B, Q, D), scaled up in training where it is kept."""
        if not self.training or self.rate == 0:
            return residual + branch(x)
        keep = 1 - self.rate
        draw = torch.rand(len(x), device='cpu') < keep
        if torch.compiler.is_compiling():  # which needs one shape: all are computed
            scale = (draw / keep).to(x.device)[:, None, None]
            return residual + branch(x) * scale.to(x.dtype)
        if draw.all():  # often, at small rates and batches: no copies of what is kept
            return torch.add(residual, branch(x), alpha=1 / keep)
        kept = draw.nonzero().flatten().to(x.device, non_blocking=True)
        out = branch(x.index_select(0, kept)).to(residual.dtype)
        return residual.index_add(0, kept, out, alpha=1 / keep)
