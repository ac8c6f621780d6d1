"""Two-dimensional sine-cosine positions (paper appendix A.1) and their resampling.

Shapes: h w grid, L = h*w patches, D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Positions (L,) to (L, dim): sines of dim/2 frequencies, then their cosines."""
    frequencies = 10000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_pos_embed(embed_dim: int, grid_size: tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """Positions of the prefix tokens (zero) and of the patches in row-major order.

    The first half of the channels encodes the column, the second half the row.

    Returns:
        float32 (1, num_prefix_tokens + L, D).

    Raises:
        ValueError: D is not divisible by 4.
    """
    if embed_dim % 4:
        raise ValueError(f'sine-cosine positions need a width divisible by 4, not {embed_dim}')
    rows, columns = torch.meshgrid(
        torch.arange(grid_size[0], dtype=torch.float64),
        torch.arange(grid_size[1], dtype=torch.float64),
        indexing='ij',
    )
    halves = [_sincos_1d(axis.flatten(), embed_dim // 2) for axis in (columns, rows)]
    patches = torch.cat(halves, dim=1)
    prefix = patches.new_zeros(num_prefix_tokens, embed_dim)
    return torch.cat([prefix, patches]).float().unsqueeze(0)


def resample_pos_embed(
    pos_embed: Tensor,
    grid_size: tuple[int, int],
    num_prefix_tokens: int,
    old_grid_size: tuple[int, int] | None = None,
    *,
    antialias: bool = True,
) -> Tensor:
    """Positions of one grid, interpolated to another, bicubically.

    With and without antialiasing the kernels differ, also where a grid grows.

    Args:
        pos_embed: (1, num_prefix_tokens + L, D).
        grid_size: new (h, w).
        num_prefix_tokens: leading tokens that keep their embedding.
        old_grid_size: (h, w) of `pos_embed`; a square if None.
        antialias: True as timm, with the cubic coefficient a = -.5; False as the authors of MAE,
            transformers and mmpretrain, with a = -.75.

    Returns:
        (1, num_prefix_tokens + h*w, D).

    Raises:
        ValueError: the positions do not fill the old grid, or are no square number where it is
            unknown.
    """
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    L = patches.shape[1]
    if old_grid_size is None:
        old_grid_size = (math.isqrt(L), math.isqrt(L))
        if old_grid_size[0] ** 2 != L:
            raise ValueError(f'{L} positions do not form a square grid to resample from')
    if old_grid_size[0] * old_grid_size[1] != L:
        raise ValueError(f'{L} positions do not fill a {old_grid_size[0]}x{old_grid_size[1]} grid')
    if tuple(old_grid_size) == tuple(grid_size):
        return pos_embed
    grid = patches.float().reshape(1, *old_grid_size, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=grid_size, mode='bicubic', antialias=antialias)
    return torch.cat([prefix, grid.flatten(2).transpose(1, 2).to(patches.dtype)], dim=1)


def describe_resampling(name: str, old: Tensor, new: Tensor, antialias: bool) -> str:
    """A log line: how many positions there were and are, and whether antialiased."""
    shape = ' of another shape' if new.shape == old.shape else ''
    way = 'antialiased' if antialias else 'not antialiased'
    return f'{name} resampled from {old.shape[1]} to {new.shape[1]} positions{shape}, {way}'


def with_class_position(
    pos_embed: Tensor, num_prefix_tokens: int, grid_size: tuple[int, int] | None = None
) -> Tensor:
    """Add positions of the prefix tokens if there are none: zeros, which change nothing.

    Args:
        pos_embed: (1, N, D).
        num_prefix_tokens: number of cls tokens before the patches.
        grid_size: (h, w) of `pos_embed`; if None, positions are added where N is a square number
            and N without the prefix is not.
    """
    N = pos_embed.shape[1]
    alone = _is_square(N) and not _is_square(N - num_prefix_tokens)
    if grid_size is not None:
        alone = grid_size[0] * grid_size[1] == N
    return F.pad(pos_embed, (0, 0, num_prefix_tokens, 0)) if alone else pos_embed


def without_class_position(pos_embed: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Take away the position of a cls token if there is one.

    Args:
        pos_embed: (1, N, D).
        grid_size: (h, w) that `pos_embed` may be of; else a square number of patches tells.
    """
    others = pos_embed.shape[1] - 1
    L = grid_size[0] * grid_size[1]
    is_with = others == L or (others != L - 1 and not _is_square(others + 1) and _is_square(others))
    return pos_embed[:, 1:] if is_with else pos_embed


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number
