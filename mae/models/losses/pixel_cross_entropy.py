"""Cross entropy of label maps, without the pixels that are ignored.

Shapes: B images, N classes, H W pixels.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.registry import MODELS

DivideBy = Literal['all', 'valid']


@MODELS.register_module()
class PixelCrossEntropyLoss(nn.Module):
    """Mean cross entropy over the pixels of a batch.

    Args:
        ignore_index: label of pixels without a loss.
        divide_by: 'all' pixels of the batch, those ignored too, as mmsegmentation does: then a
            batch cut into micro-batches gives the same loss. 'valid' ones only, as the source of
            ImageNet-S does: then it depends on the cut.
        scale: enlarge the logits by this factor and shrink the map to them by the nearest pixel;
            None enlarges the logits to the map.
        label_smoothing: share of the target spread evenly over the classes.

    Raises:
        ValueError: an unknown `divide_by`, or a number out of range.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        *,
        divide_by: DivideBy = 'all',
        scale: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if divide_by not in get_args(DivideBy):
            raise ValueError(f"loss.divide_by must be 'all' or 'valid', not {divide_by!r}")
        if (scale is not None and scale <= 0) or not 0 <= label_smoothing <= 1:
            raise ValueError(
                'loss.scale must be positive and loss.label_smoothing in 0..1, not '
                f'{scale} and {label_smoothing}'
            )
        self.ignore_index = ignore_index
        self.divide_by = divide_by
        self.scale = scale
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, maps: Tensor) -> Tensor:
        """Logits (B, N, h, w) and maps int64 (B, H, W) to a scalar."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        size: tuple[int, ...] = tuple(maps.shape[-2:])
        if self.scale is not None:
            size = tuple(round(side * self.scale) for side in logits.shape[-2:])
            maps = F.interpolate(maps[:, None].float(), size, mode='nearest')[:, 0].long()
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)
        total = F.cross_entropy(
            logits,
            maps,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction='sum',
        )
        if self.divide_by == 'all':
            return total / maps.numel()
        return total / (maps != self.ignore_index).sum().clamp(min=1)
