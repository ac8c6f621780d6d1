"""Features of boxes from the level that fits their size (Lin et al. 2017, "FPN", section 4.2).

Shapes: B images, C channels, H W pixels of a level, R boxes of all images, S side of the result.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

_CANONICAL_SIDE = 224  # pixels of a box that belongs to the level of stride 16
_CANONICAL_STRIDE = 16


class RoIPool(nn.Module):
    """RoIAlign (He et al. 2017, "Mask R-CNN") on one level for each box.

    torchvision's `MultiScaleRoIAlign` samples half a pixel away from where detectron2 does, which
    the recipes follow; `aligned=False` is torchvision's.

    Args:
        size: S.
        strides: pixels of the image for a pixel of each level, from the finest.
        sampling_ratio: samples along each axis of a bin; 0 takes as many as the box has pixels.
        aligned: whether pixels have their centres at .5.
    """

    def __init__(
        self, size: int, strides: tuple[int, ...], *, sampling_ratio: int = 0, aligned: bool = True
    ) -> None:
        super().__init__()
        self.size = size
        self.strides = strides
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, levels: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Levels (B, C, H, W), the finest first, and boxes (R_b, 4) of each image: (R, C, S, S)."""
        together = torch.cat(boxes)
        images = torch.repeat_interleave(
            torch.arange(len(boxes), device=together.device),
            torch.tensor([len(some) for some in boxes], device=together.device),
        )
        rois = torch.cat([images[:, None].to(together.dtype), together], dim=1)  # R,5
        numbers = self._levels(together)
        out = levels[0].new_zeros(len(rois), levels[0].shape[1], self.size, self.size)
        for number, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            chosen = (numbers == number).nonzero().flatten()
            pooled = roi_align(
                level,
                rois[chosen].to(level.dtype),
                self.size,
                1 / stride,
                self.sampling_ratio,
                self.aligned,
            )
            out = out.index_copy(0, chosen, pooled.to(out.dtype))
        return out

    def _levels(self, boxes: Tensor) -> Tensor:
        """Number of the level of each box, (R,)."""
        sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        strides = _CANONICAL_STRIDE * sides / _CANONICAL_SIDE
        numbers = torch.floor(torch.log2(strides / self.strides[0] + 1e-6))
        return numbers.clamp(0, len(self.strides) - 1).long()
