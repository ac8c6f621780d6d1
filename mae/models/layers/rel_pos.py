"""Relative positions: what a query's offset to a key adds to its score.

Shapes: B images, H heads, N tokens, h w grid, D width, d = D / H.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RelPos = Literal['none', 'table', 'axes']


def check_rel_pos(kind: RelPos) -> None:
    """Refuse an unknown form.

    Raises:
        ValueError: says those there are.
    """
    if kind not in get_args(RelPos):
        raise ValueError(f"encoder.rel_pos must be 'none', 'table' or 'axes', not {kind!r}")


class TableBias(nn.Module):
    """A learned number for each head and offset, zero at the start (Liu et al. 2021, "Swin").

    With a cls token three more: from it to a patch, from a patch to it, and to itself, as BEiT
    has them.

    Args:
        num_heads: H.
        grid_size: largest (h, w).
        num_prefix_tokens: 0, or 1 for a cls token.
    """

    def __init__(
        self, num_heads: int, grid_size: tuple[int, int], num_prefix_tokens: int = 0
    ) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.num_prefix_tokens = num_prefix_tokens
        h, w = grid_size
        number = (2 * h - 1) * (2 * w - 1) + 3 * num_prefix_tokens
        self.table = nn.Parameter(torch.zeros(number, num_heads))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """softmax(q k^T / sqrt(d) + bias) v, all (B, H, N, d)."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(grid_size).to(q.dtype))

    def bias(self, grid_size: tuple[int, int]) -> Tensor:
        """(1, H, N, N) for a grid that is not larger than the table's.

        Raises:
            ValueError: it is larger.
        """
        ids = self._ids(grid_size).to(self.table.device)
        N = len(ids)
        return self.table[ids.flatten()].view(1, N, N, -1).permute(0, 3, 1, 2)

    def _ids(self, grid_size: tuple[int, int]) -> Tensor:
        """Row of the table for each pair of tokens, (N, N)."""
        rows, columns = (
            offsets(side, largest) for side, largest in zip(grid_size, self.grid_size, strict=True)
        )
        span = 2 * self.grid_size[1] - 1
        patches = rows[:, None, :, None] * span + columns[None, :, None]  # h,w,h,w
        L = grid_size[0] * grid_size[1]
        patches = patches.reshape(L, L)
        if not self.num_prefix_tokens:
            return patches
        last = len(self.table)
        ids = patches.new_empty(L + 1, L + 1)
        ids[1:, 1:] = patches
        ids[0, :], ids[:, 0], ids[0, 0] = last - 3, last - 2, last - 1
        return ids


class AxisBias(nn.Module):
    """A learned direction for each row's and each column's offset (Li et al. 2022, "MViTv2").

    The bias is the product of the unscaled query with the direction of its vertical and of its
    horizontal offset to the key; zero at the start.

    Args:
        head_dim: d.
        grid_size: largest (h, w).
    """

    def __init__(self, head_dim: int, grid_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid_size = grid_size
        h, w = grid_size
        self.rows = nn.Parameter(torch.zeros(2 * h - 1, head_dim))
        self.columns = nn.Parameter(torch.zeros(2 * w - 1, head_dim))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """softmax(q k^T / sqrt(d) + bias) v, all (B, H, h*w, d).

        The bias is part of the product: behind each scaled query stand its products with all rows'
        and columns' directions, behind each key a 1 at its own row and column. So the fused kernels
        serve, and no (N, N) bias is ever made.
        """
        B, H, N, d = q.shape
        h, w = grid_size
        by_row, by_column = self._products(q, grid_size)
        queries = torch.cat([q * d**-0.5, by_row, by_column], dim=-1)  # B,H,N,d+h+w
        places = torch.cat(
            [
                torch.eye(h, device=q.device, dtype=q.dtype).repeat_interleave(w, dim=0),
                torch.eye(w, device=q.device, dtype=q.dtype).repeat(h, 1),
            ],
            dim=-1,
        )  # N,h+w
        keys = torch.cat([k, places.expand(B, H, N, h + w)], dim=-1)
        values = F.pad(v, (0, h + w))  # kernels want one width
        return F.scaled_dot_product_attention(queries, keys, values, scale=1.0)[..., :d]

    def bias(self, q: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """(B, H, N, N), in full: the reference for tests."""
        by_row, by_column = self._products(q, grid_size)
        h, w = grid_size
        return by_row.repeat_interleave(w, dim=-1) + by_column.repeat(1, 1, 1, h)

    def _products(self, q: Tensor, grid_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Each query with the directions to all rows (B, H, N, h) and columns (B, H, N, w)."""
        h, w = grid_size
        rows, columns = (
            table[offsets(side, largest).to(table.device)].to(q.dtype)  # side,side,d
            for table, side, largest in zip(
                (self.rows, self.columns), grid_size, self.grid_size, strict=True
            )
        )
        grid = q.unflatten(2, (h, w))
        by_row = torch.einsum('bnyxd,yrd->bnyxr', grid, rows).flatten(2, 3)
        by_column = torch.einsum('bnyxd,xcd->bnyxc', grid, columns).flatten(2, 3)
        return by_row, by_column


def offsets(side: int, largest: int) -> Tensor:
    """query - key + largest - 1 for all pairs along an axis, (side, side).

    Raises:
        ValueError: the axis is longer than the one that the positions were made for.
    """
    if side > largest:
        raise ValueError(
            f'relative positions reach over {largest} patches, the images have {side} along an '
            'axis: set encoder.img_size to the largest image'
        )
    places = torch.arange(side)
    return places[:, None] - places[None] + largest - 1
