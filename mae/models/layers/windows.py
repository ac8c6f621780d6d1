"""Cutting a grid of tokens into windows and putting it back (Li et al. 2022, "ViTDet").

Shapes: B images, h w grid, D width, s side of a window, W windows of an image.
"""

import torch.nn.functional as F
from torch import Tensor


def to_windows(tokens: Tensor, grid_size: tuple[int, int], side: int) -> Tensor:
    """(B, h*w, D) to (B*W, s*s, D), in row-major order; zeros fill the last row and column.

    The zeros take part in the attention of their window, as in ViTDet.
    """
    B, _, D = tokens.shape
    h, w = grid_size
    rows, columns = -(-h // side), -(-w // side)
    grid = tokens.reshape(B, h, w, D)
    if (rows * side, columns * side) != (h, w):
        grid = F.pad(grid, (0, 0, 0, columns * side - w, 0, rows * side - h))
    cut = grid.reshape(B, rows, side, columns, side, D).transpose(2, 3)
    return cut.reshape(B * rows * columns, side * side, D)


def from_windows(windows: Tensor, grid_size: tuple[int, int], side: int) -> Tensor:
    """(B*W, s*s, D) back to (B, h*w, D), without what filled up the grid."""
    h, w = grid_size
    rows, columns = -(-h // side), -(-w // side)
    D = windows.shape[-1]
    grid = windows.reshape(-1, rows, columns, side, side, D).transpose(2, 3)
    grid = grid.reshape(-1, rows * side, columns * side, D)[:, :h, :w]
    return grid.reshape(len(grid), h * w, D)
