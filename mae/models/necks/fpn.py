"""A feature pyramid over four levels of a plain ViT (Li et al. 2021, "Benchmarking detection").

Shapes: B images, D width, h w grid.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mae.models.layers.conv import Norm, check_sizes, init_convs, norm_of
from mae.models.necks.levels import LevelsNeck
from mae.registry import MODELS


@MODELS.register_module()
class FPNNeck(nn.Module):
    """`LevelsNeck`, then a feature pyramid (Lin et al. 2017) with a fifth, coarser level.

    Args:
        channels: of every level.
        norm: of the pyramid, see `norm_of`.
        levels_norm: between the enlargements of the finest level.
        embed_dim: D, which the encoder states, like `patch_size` and `num_taps`.
        patch_size: side of a patch in pixels.
        num_taps: maps that the encoder gives, four.

    Raises:
        ValueError: fewer than one channel, or see `LevelsNeck`.
    """

    def __init__(
        self,
        channels: int = 256,
        *,
        norm: Norm = 'batch',
        levels_norm: Norm = 'groups',
        embed_dim: int,
        patch_size: int,
        num_taps: int,
    ) -> None:
        super().__init__()
        check_sizes({'channels': channels})
        self.levels = LevelsNeck(
            embed_dim=embed_dim, patch_size=patch_size, num_taps=num_taps, norm=levels_norm
        )
        self.pyramid = FeaturePyramidNetwork(
            list(self.levels.channels),
            channels,
            LastLevelMaxPool(),
            norm_layer=None if norm == 'none' else lambda width: norm_of(norm, width),
        )
        self.channels = (channels,) * 5
        self.strides = (*self.levels.strides, 2 * self.levels.strides[-1])

    def init_weights(self) -> None:
        """Kaiming normal."""
        init_convs(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Four maps (B, D, h, w) to levels of 4h, 2h, h, h/2 and h/4 rows."""
        named = {str(number): level for number, level in enumerate(self.levels(maps))}
        return list(self.pyramid(named).values())
