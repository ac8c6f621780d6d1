"""The simple feature pyramid of a plain ViT (Li et al. 2022, "ViTDet", section 3).

Shapes: B images, D width, h w grid.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.conv import ChannelNorm, ConvNorm, Halve, check_sizes, init_convs
from mae.registry import MODELS


@MODELS.register_module()
class SimplePyramid(nn.Module):
    """Five levels from the last map alone, by factors 4, 2, 1, 1/2 and 1/4 of its size.

    Args:
        channels: of every level.
        embed_dim: D, which the encoder states, like `patch_size`.
        patch_size: side of a patch in pixels.

    Raises:
        ValueError: fewer than one channel.
    """

    def __init__(self, channels: int = 256, *, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        check_sizes({'channels': channels})
        D = embed_dim
        self.channels = (channels,) * 5
        self.strides = tuple(int(patch_size * 2**n / 4) for n in range(5))
        up = nn.ConvTranspose2d(D, D // 2, 2, stride=2)
        ups: list[list[nn.Module]] = [
            [up, ChannelNorm(D // 2), nn.GELU(), nn.ConvTranspose2d(D // 2, D // 4, 2, stride=2)],
            [nn.ConvTranspose2d(D, D // 2, 2, stride=2)],
            [],
            [Halve()],
        ]
        widths = (D // 4, D // 2, D, D)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *scale,
                ConvNorm(width, channels, 1, 'channels', relu=False),
                ConvNorm(channels, channels, 3, 'channels', relu=False),
            )
            for scale, width in zip(ups, widths, strict=True)
        )

    def init_weights(self) -> None:
        """Kaiming normal."""
        init_convs(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The last of the maps (B, D, h, w) to levels of 4h, 2h, h, h/2 and h/4 rows."""
        levels = [level(maps[-1]) for level in self.levels]
        return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]
