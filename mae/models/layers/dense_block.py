"""The transformer block of dense tasks: windows, relative positions, layer scale.

Shapes: B images, N = prefix + L tokens, D width, H heads, d = D / H, h w grid, s side of a window.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mae.models.layers.attention import split_heads
from mae.models.layers.block import Block
from mae.models.layers.rel_pos import AxisBias, TableBias
from mae.models.layers.windows import from_windows, to_windows


class DenseBlock(Block):
    """A `Block` that knows the grid its tokens lie on.

    Args:
        dim: D.
        num_heads: H.
        window_size: side s of a window in patches; 0 attends globally.
        rel_pos: bias of the scores, which other blocks may share; None without one.
        layer_scale: value at the start of a factor for each channel of both branches; None
            without one (Touvron et al. 2021, "CaiT").
        options: see `Block`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        window_size: int = 0,
        rel_pos: TableBias | AxisBias | None = None,
        layer_scale: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, num_heads, **options)
        self.window_size = window_size
        self.rel_pos = rel_pos
        self.layer_scale = layer_scale
        if layer_scale is not None:
            start = float(layer_scale)  # a whole number would make whole numbers
            self.gamma_1 = nn.Parameter(torch.full((dim,), start))
            self.gamma_2 = nn.Parameter(torch.full((dim,), start))

    def forward(
        self,
        x: Tensor,
        num_queries: int | None = None,
        *,
        scales: Tensor | None = None,
        grid_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """(B, N, D) to (B, N, D), of patches that lie on a grid (h, w); all tokens are queries."""
        assert grid_size is not None
        assert num_queries is None
        return self._run(self._grid_branches, x, grid_size, scales)

    def _grid_branches(
        self, x: Tensor, grid_size: tuple[int, int], scales: Tensor | None
    ) -> Tensor:
        first, second = (None, None) if scales is None else scales.unbind()
        x = self.drop_path(x, x, lambda x: self._attention(self.norm1(x), grid_size), first)
        out: Tensor = self.drop_path(x, x, lambda x: self._mlp(self.norm2(x)), second)
        return out

    def _attention(self, x: Tensor, grid_size: tuple[int, int]) -> Tensor:
        side = self.window_size
        if side:
            x = to_windows(x, grid_size, side)
        x = self._attend(x, (side, side) if side else grid_size)
        if side:
            x = from_windows(x, grid_size, side)
        return x * self.gamma_1 if self.layer_scale is not None else x

    def _attend(self, x: Tensor, grid_size: tuple[int, int]) -> Tensor:
        if self.rel_pos is None:
            plain: Tensor = self.attn(x)
            return plain
        q, k, v = split_heads((self.attn.qkv(x),), self.attn.num_heads)
        heads = self.rel_pos.attend(q, k, v, grid_size)
        out: Tensor = self.attn.proj(heads.transpose(1, 2).flatten(2))
        return out

    def _mlp(self, x: Tensor) -> Tensor:
        x = self.mlp(x)
        return x * self.gamma_2 if self.layer_scale is not None else x
