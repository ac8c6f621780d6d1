"""Four levels of features of a plain ViT, from maps of one size (Bao et al. 2022, "BEiT", A.2).

Shapes: B images, D width, h w grid.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from mae.models.layers.conv import Halve, Norm, init_convs, norm_of
from mae.registry import MODELS


@MODELS.register_module()
class LevelsNeck(nn.Module):
    """Enlarges the first map four times, the second twice, keeps the third, halves the fourth.

    The width stays D.

    Args:
        embed_dim: D, which the encoder states, like `patch_size` and `num_taps`.
        patch_size: side of a patch in pixels.
        num_taps: maps that the encoder gives.
        norm: between the two enlargements, see `norm_of`.

    Raises:
        ValueError: the encoder gives other than four maps.
    """

    def __init__(
        self, *, embed_dim: int, patch_size: int, num_taps: int, norm: Norm = 'batch'
    ) -> None:
        super().__init__()
        if num_taps != 4:
            raise ValueError(f'model.taps must name four blocks for this neck, not {num_taps}')
        D = embed_dim
        self.channels = (D,) * 4
        self.strides = (patch_size // 4, patch_size // 2, patch_size, 2 * patch_size)
        self.levels = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(D, D, 2, stride=2),
                    norm_of(norm, D),
                    nn.GELU(),
                    nn.ConvTranspose2d(D, D, 2, stride=2),
                ),
                nn.ConvTranspose2d(D, D, 2, stride=2),
                nn.Identity(),
                Halve(),
            ]
        )

    def init_weights(self) -> None:
        """Kaiming normal."""
        init_convs(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Four maps (B, D, h, w) to levels of 4h, 2h, h and h/2 rows."""
        return [level(x) for level, x in zip(self.levels, maps, strict=True)]
