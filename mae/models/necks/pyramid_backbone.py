"""An encoder, with or without a neck, as the backbone of a detector of torchvision.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class PyramidBackbone(nn.Module):
    """What `torchvision.models.detection.MaskRCNN(backbone=...)` and its relatives take.

    Levels are named '0', '1', ... from the finest, as torchvision's own pyramids name them. The
    detector must not resize images to other than whole patches: `size_divisible` is its argument.

    Args:
        encoder: with `maps(images, after)`, such as `DenseViTEncoder`.
        neck: maps to levels of one width, with `channels`, such as `SimplePyramid`. None leaves the
            map of the one block in `taps` as the only level.
        taps: numbers of the blocks, from 0, whose maps are used.

    Attributes:
        out_channels: of each level.

    Raises:
        ValueError: the neck's levels differ in width, or several blocks without a neck.
    """

    def __init__(self, encoder: nn.Module, neck: nn.Module | None, taps: Sequence[int]) -> None:
        super().__init__()
        if neck is None and len(taps) != 1:
            raise ValueError(f'taps must name one block if neck is None, not {list(taps)}')
        channels: Any = (encoder.embed_dim,) if neck is None else neck.channels
        widths = set(channels)
        if len(widths) != 1:
            raise ValueError(
                f'torchvision needs levels of one width, {type(neck).__name__} gives '
                f'{sorted(widths)}; SimplePyramid and FPNNeck give one'
            )
        self.encoder = encoder
        self.neck = neck
        self.taps = tuple(taps)
        (self.out_channels,) = widths

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, C, H, W) of whole patches to the levels by name."""
        # mypy takes what a module has for a tensor or a module.
        maps = self.encoder.maps(images, self.taps)  # type: ignore[operator]
        levels = maps if self.neck is None else self.neck(maps)
        return {str(number): level for number, level in enumerate(levels)}
