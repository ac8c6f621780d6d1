"""The classification head: pool, normalise, project (paper appendix A.1, A.2).

Shapes: B images, N tokens, D width.
"""

from typing import Any

from torch import Tensor, nn

from mae.models.heads.pooled import PooledHead
from mae.registry import MODELS


@MODELS.register_module()
class LinearHead(PooledHead):
    """Logits from the encoder's tokens.

    Args:
        num_classes: number of classes.
        embed_dim: D; the model passes it when it is built.
        options: `pool`, `norm`, `init_std` and `num_prefix_tokens`, see `PooledHead`.
    """

    def __init__(self, num_classes: int, *, embed_dim: int, **options: Any) -> None:
        super().__init__(num_classes, embed_dim=embed_dim, **options)
        self.fc = nn.Linear(embed_dim, num_classes)

    def init_weights(self) -> None:
        """Start the projection nearly at zero, as the recipe does."""
        super().init_weights()
        nn.init.trunc_normal_(self.fc.weight, std=self.init_std)
        nn.init.zeros_(self.fc.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to logits (B, num_classes)."""
        logits: Tensor = self.fc(self.features(tokens))
        return logits
