"""One linear classifier for every patch: the head of ImageNet-S (Gao et al. 2022, "LUSS").

Shapes: B images, D width, h w grid, N classes.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from mae.models.layers.block import NORM_EPS
from mae.registry import MODELS

PixelNorm = Literal['layer', 'none']


@MODELS.register_module()
class PixelLinearHead(nn.Module):
    """LayerNorm and a linear layer on the last map.

    The names are those of `LinearHead`, so that the norm of weights fine-tuned to classify is
    loaded, while the linear layer, of other classes, starts fresh.

    Args:
        num_classes: N.
        norm: 'layer', or 'none' after an encoder with a final norm of its own.
        init_std: standard deviation of the initial weights.
        channels: of each level, from the finest, which the encoder or neck states.

    Raises:
        ValueError: fewer than one class, or an unknown norm.
    """

    kept_parts = ('fc_norm',)  # of a head of other classes, see `fit_weights`

    def __init__(
        self,
        num_classes: int,
        *,
        norm: PixelNorm = 'layer',
        init_std: float = 2e-5,
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f'head.num_classes must be at least 1, not {num_classes}')
        if norm not in get_args(PixelNorm):
            raise ValueError(f"head.norm must be 'layer' or 'none', not {norm!r}")
        self.num_classes = num_classes
        self.init_std = init_std
        self.fc_norm = (
            nn.LayerNorm(channels[-1], eps=NORM_EPS) if norm == 'layer' else nn.Identity()
        )
        self.fc = nn.Linear(channels[-1], num_classes)

    def init_weights(self) -> None:
        """Start the projection nearly at zero, as the recipe does."""
        if isinstance(self.fc_norm, nn.LayerNorm):
            self.fc_norm.reset_parameters()
        nn.init.trunc_normal_(self.fc.weight, std=self.init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """The last of the maps (B, D, h, w) to logits (B, N, h, w)."""
        logits: Tensor = self.fc(self.fc_norm(levels[-1].permute(0, 2, 3, 1)))
        return logits.permute(0, 3, 1, 2)
