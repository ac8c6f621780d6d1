"""Grid-wise masking of the paper's ablation (table 1f): a regular lattice of patches is kept."""

import torch
from torch import Tensor

from mae.models.masking.base import Masker
from mae.registry import MODELS


@MODELS.register_module()
class GridMasker(Masker):
    """Keeps one patch of each `stride` x `stride` cell, the same one in every image.

    A ratio other than 1 - 1/stride^2 adds or drops patches in the order of their place in a cell.

    Args:
        mask_ratio: share of hidden patches, in (0, 1).
        stride: side of a cell; 2 gives the paper's 75 %.
        predict_ratio: see `Masker`.

    Raises:
        ValueError: `stride` is below 1; see also `Masker`.
    """

    def __init__(
        self, mask_ratio: float = 0.75, *, stride: int = 2, predict_ratio: float | None = None
    ) -> None:
        super().__init__(mask_ratio, predict_ratio=predict_ratio)
        if stride < 1:
            raise ValueError(f'masker.stride must be at least 1, not {stride}')
        self.stride = stride

    def score(self, grid_size: tuple[int, int], keys: Tensor) -> Tensor:
        h, w = grid_size
        rows = torch.arange(h, device=keys.device)[:, None] % self.stride
        columns = torch.arange(w, device=keys.device) % self.stride
        place = (rows * self.stride + columns).flatten()
        # The patch number breaks ties, so that the order is the same on every device.
        score = place * (h * w) + torch.arange(h * w, device=keys.device)
        return score.expand(len(keys), -1)
