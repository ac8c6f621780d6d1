"""Block-wise masking of the paper's ablation (table 1f), after BEiT (Bao et al. 2021).

Shapes: B images, R rectangles, h w grid, L = h*w patches.
"""

import math

import torch
from torch import Tensor

from mae.models.masking.base import Masker
from mae.registry import MODELS
from mae.utils.hashing import key_noise, key_uniform
from mae.utils.ratio import exact


@MODELS.register_module()
class BlockMasker(Masker):
    """Hides random rectangles one after another until the share is reached.

    The last rectangle is hidden only in part, so that every image hides the same number.

    Args:
        mask_ratio: share of hidden patches, in (0, 1).
        min_patches: smallest area of a rectangle, in patches (BEiT: 16).
        min_aspect: smallest height over width; the largest is its inverse (BEiT: 0.3).
        num_blocks: rectangles drawn for an image; patches outside all of them are hidden last.
        predict_ratio: see `Masker`.

    Raises:
        ValueError: `min_aspect` is outside (0, 1], or another number below 1; see also `Masker`.
    """

    exp_table: Tensor

    def __init__(
        self,
        mask_ratio: float = 0.5,
        *,
        min_patches: int = 16,
        min_aspect: float = 0.3,
        num_blocks: int = 64,
        predict_ratio: float | None = None,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio=predict_ratio)
        if min_patches < 1 or num_blocks < 1 or not 0 < min_aspect <= 1:
            raise ValueError(
                'masker.min_patches and masker.num_blocks must be at least 1 and masker.min_aspect '
                f'lie in (0, 1], not {min_patches}, {num_blocks} and {min_aspect}'
            )
        self.min_patches = min_patches
        self.min_aspect = min_aspect
        self.num_blocks = num_blocks
        table = exp_table(-math.log(min_aspect))
        self.register_buffer('exp_table', table, persistent=False)

    def score(self, grid_size: tuple[int, int], keys: Tensor) -> Tensor:
        h, w = grid_size
        R = self.num_blocks
        top, left, height, width = self._rectangles(grid_size, keys)

        rows = torch.arange(h, device=keys.device)  # h
        columns = torch.arange(w, device=keys.device)  # w
        in_rows = (rows >= top[..., None]) & (rows < (top + height)[..., None])  # B,R,h
        in_columns = (columns >= left[..., None]) & (columns < (left + width)[..., None])
        covered = (in_rows[..., :, None] & in_columns[..., None, :]).flatten(2)  # B,R,L

        # Hidden first: what the first rectangle covers, and among equals by the noise.
        first = torch.where(covered.any(1), covered.int().argmax(1), R)  # B,L
        ties = key_noise(~keys, h * w).argsort(1).argsort(1)  # ~: a second, independent stream
        return (R - first) * (h * w) + ties

    def _rectangles(
        self, grid_size: tuple[int, int], keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width of all rectangles, float64 (B, R) each."""
        h, w = grid_size
        uniform = key_uniform(keys, 4 * self.num_blocks)
        area_draw, aspect_draw, top_draw, left_draw = uniform.chunk(4, dim=1)
        largest = max(self.min_patches, int(h * w * exact(self.mask_ratio)))
        area = self.min_patches + area_draw * (largest - self.min_patches)
        power = (2 * aspect_draw - 1) * -math.log(self.min_aspect)
        aspect = reproducible_exp(power, self.exp_table)
        height = (area * aspect).sqrt().round().clamp(1, h)
        width = (area / aspect).sqrt().round().clamp(1, w)
        top = (top_draw * (h - height + 1)).floor()
        left = (left_draw * (w - width + 1)).floor()
        return top, left, height, width


_STEPS = 64  # of the table in `reproducible_exp`, from one power of e to the next
_ORDER = 6  # of its series: the remainder lies below 1e-17 of the value


def exp_table(largest: float) -> Tensor:
    """Powers of e for `reproducible_exp`: float64 as int64, which no `module.to(dtype)` rounds."""
    ends = math.ceil(largest * _STEPS) + 1
    powers = [math.exp(step / _STEPS) for step in range(-ends, ends + 1)]
    return torch.tensor(powers, dtype=torch.float64).view(torch.int64)


def reproducible_exp(x: Tensor, table: Tensor) -> Tensor:
    """exp(x) to about two units of the last place, with the same bits on every device.

    `torch.exp` is another function on each device, and a side of a rectangle that it moves over a
    half is rounded the other way. Sums, products and reading a table are the same everywhere.

    Args:
        x: float64.
        table: from `exp_table`, for the largest |x|.
    """
    step = (x * _STEPS).round()
    rest = x - step / _STEPS  # at most half a step
    series = torch.full_like(x, 1 / math.factorial(_ORDER))
    for power in reversed(range(_ORDER)):
        series = series * rest + 1 / math.factorial(power)
    powers = table.to(x.device).view(torch.float64)
    return powers[step.long() + len(table) // 2] * series
