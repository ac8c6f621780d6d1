"""A small convolutional head on one level: the auxiliary classifier of segmentation recipes.

Shapes: B images, C channels, H W pixels of a level, N classes.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mae.models.layers.conv import ConvNorm, Norm, check_sizes, init_convs
from mae.registry import MODELS


@MODELS.register_module()
class FCNHead(nn.Module):
    """3x3 convolutions, then one of 1x1 (Long et al. 2015, "Fully convolutional networks").

    Args:
        num_classes: N.
        level: number of the level that it reads, from 0 for the finest.
        width: channels within the head.
        num_convs: number of 3x3 convolutions.
        dropout: share of channels dropped before the last convolution.
        norm: see `mae.models.layers.conv.norm_of`.
        channels: of each level, from the finest, which the neck states.

    Raises:
        ValueError: fewer than one class or channel, or a level that is not there.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        level: int = 2,
        width: int = 256,
        num_convs: int = 1,
        dropout: float = 0.1,
        norm: Norm = 'batch',
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        if num_classes < 1 or not 0 <= level < len(channels):
            raise ValueError(
                f'num_classes must be at least 1 and level in 0..{len(channels) - 1}, not '
                f'{num_classes} and {level}'
            )
        check_sizes({'width': width})
        self.num_classes = num_classes
        self.level = level
        widths = (channels[level], *(width,) * num_convs)
        self.convs = nn.Sequential(*(ConvNorm(a, b, 3, norm) for a, b in pairwise(widths)))
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(widths[-1], num_classes, 1)

    def init_weights(self) -> None:
        """Kaiming normal, the last convolution nearly at zero."""
        init_convs(self)
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, H, W) to logits (B, N, H, W) of one of them."""
        logits: Tensor = self.classify(self.dropout(self.convs(levels[self.level])))
        return logits
