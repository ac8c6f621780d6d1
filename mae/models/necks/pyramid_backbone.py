"""An encoder and a neck as the backbone of a detector of torchvision.

Shapes: B images, C channels, H W pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn


class PyramidBackbone(nn.Module):
    """What `torchvision.models.detection.MaskRCNN(backbone=...)` and its relatives take.

    Levels are named '0', '1', ... from the finest, as torchvision's own pyramids name them. The
    detector must not resize images to other than whole patches: `size_divisible` is its argument.

    Args:
        encoder: with `maps(images, after)`, such as `DenseViTEncoder`.
        neck: maps to levels of one width, with `channels`, such as `SimplePyramid`.
        taps: numbers of the blocks, from 0, whose maps the neck takes.

    Attributes:
        out_channels: of each level.

    Raises:
        ValueError: the neck's levels differ in width.
    """

    def __init__(self, encoder: nn.Module, neck: nn.Module, taps: Sequence[int]) -> None:
        super().__init__()
        widths = set(neck.channels)  # type: ignore[arg-type]  # a tuple, as every neck has it
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
        levels = self.neck(self.encoder.maps(images, self.taps))  # type: ignore[operator]
        return {str(number): level for number, level in enumerate(levels)}
