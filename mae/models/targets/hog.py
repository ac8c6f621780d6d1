"""Histograms of oriented gradients (Wei et al. 2022, "MaskFeat", arXiv 2112.09133, section 3).

Shapes: B images, C channels, H W pixels, L patches, M predicted patches, p and c side in pixels of
a patch and of a cell, n = p / c cells a side, N bins, T = C * N * n * n.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.models.layers.patches import patchify
from mae.models.layers.shapes import check_shape
from mae.models.layers.tokens import take
from mae.models.targets.base import MaskLike, Target
from mae.registry import MODELS


@MODELS.register_module()
class HOGTarget(Target):
    """How strong the edges of each direction are in the cells of a patch, channel by channel.

    Gradients are Sobel's, of the whole image mirrored at its border, so they cross from patch to
    patch. A pixel adds its gradient's length to the one bin of its direction (a direction and its
    opposite are one), and the histogram of each cell and channel is scaled to length 1.

    Args:
        num_bins: N, which divide half a turn.
        cell_size: c, a divisor of the patch's side.
        patch_size: p in pixels; the model passes this and what follows when it is built.
        in_channels: C.

    Raises:
        ValueError: patches are not a whole number of cells, or there are no bins.
    """

    def __init__(
        self, num_bins: int = 9, *, cell_size: int = 8, patch_size: int, in_channels: int
    ) -> None:
        super().__init__()
        if num_bins < 1:
            raise ValueError(f'target.num_bins must be positive, not {num_bins}')
        if cell_size < 1 or patch_size % cell_size:
            fitting = [str(c) for c in range(1, patch_size + 1) if patch_size % c == 0]
            raise ValueError(
                f'target.cell_size={cell_size} does not divide patches of {patch_size}x'
                f'{patch_size}: take one of {", ".join(fitting)}'
            )
        self.num_bins = num_bins
        self.cell_size = cell_size
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.target_dim = in_channels * num_bins * (patch_size // cell_size) ** 2

    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """Images (B, C, H, W) to histograms (B, M, T), laid out (channel, bin, row, column).

        Raises:
            ValueError: images of other dimensions or channels.
        """
        check_shape('images', images, 'B', self.in_channels, 'H', 'W')
        vertical, horizontal = sobel(images)  # B,C,H,W
        length, bins = torch.hypot(horizontal, vertical), self._bin_of(vertical, horizontal)
        length, bins = (self._cells(each, mask) for each in (length, bins))  # B,M,C,n,n,c*c
        # Bin by bin: a scattered sum would add in another order on each run on a GPU.
        sums = [length.where(bins == k, 0).sum(dim=-1) for k in range(self.num_bins)]
        return F.normalize(torch.stack(sums, dim=3), dim=3).flatten(2)  # B,M,C,N,n,n

    def _bin_of(self, vertical: Tensor, horizontal: Tensor) -> Tensor:
        """The bin of each gradient, 0..N-1; bin 0 starts straight down, later ones turn right."""
        half_turns = torch.atan2(horizontal, vertical) / math.pi  # -1..1
        return (half_turns * self.num_bins).floor().remainder(self.num_bins)

    def _cells(self, values: Tensor, mask: MaskLike) -> Tensor:
        """(B, C, H, W) to the cells of the predicted patches, (B, M, C, n, n, c*c)."""
        c, n = self.cell_size, self.patch_size // self.cell_size
        hidden = take(patchify(values, self.patch_size), mask.ids_predict)  # B,M,p*p*C
        cells: Tensor = hidden.unflatten(-1, (n, c, n, c, values.shape[1]))
        return cells.permute(0, 1, 6, 2, 4, 3, 5).flatten(-2)


def sobel(images: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients down and to the right, each (B, C, H, W), of images mirrored at the border.

    By slices rather than as a convolution, which autocast would round to bfloat16.
    """
    x = F.pad(images.to(torch.promote_types(images.dtype, torch.float32)), (1, 1, 1, 1), 'reflect')
    down = x[..., 2:, :] - x[..., :-2, :]  # B,C,H,W+2
    right = x[..., :, 2:] - x[..., :, :-2]  # B,C,H+2,W
    vertical = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    horizontal = right[..., :-2, :] + 2 * right[..., 1:-1, :] + right[..., 2:, :]
    return vertical, horizontal
