"""A linear probe at several learning rates in one pass over frozen features.

The encoder's forward pass is nearly all that a probe costs, so a grid costs as much as one rate.

Shapes: B images, N tokens, D width, G learning rates.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mae.models.heads.pooled import PooledHead
from mae.registry import MODELS


@MODELS.register_module()
class LinearGridHead(PooledHead):
    """As many linear layers as learning rates, each trained as if it were alone.

    All start from the same weights and see the same features; the loss is the sum of theirs.
    Needs a frozen encoder, where the gradients of all layers would add up, and no gradient
    clipping, since one norm over all layers would couple them.

    Args:
        num_classes: number of classes.
        lr_scales: factors of the run's learning rate.
        norm: 'batch' without learned parameters, as in the linear probe, or 'none': learned
            parameters would be shared by all rates.
        embed_dim: D; the model passes it when it is built.
        options: `pool` and `init_std`, see `PooledHead`.

    Raises:
        ValueError: no scales, one that is not positive, or the same one twice; another norm.
    """

    needs_frozen_encoder = True

    def __init__(
        self,
        num_classes: int,
        *,
        lr_scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        norm: Literal['batch', 'none'] = 'batch',
        embed_dim: int,
        **options: Any,
    ) -> None:
        super().__init__(num_classes, norm=norm, embed_dim=embed_dim, **options)
        if next(self.parameters(), None) is not None:
            raise ValueError(
                f"head.norm must be 'batch' or 'none' with lr_scales, not {norm!r}: its parameters "
                'would be shared by all learning rates'
            )
        if not lr_scales or min(lr_scales) <= 0 or len(set(lr_scales)) < len(lr_scales):
            raise ValueError(
                f'head.lr_scales must be different positive numbers, not {list(lr_scales)}'
            )
        self.lr_scales = tuple(lr_scales)
        self.fcs = nn.ModuleList(nn.Linear(embed_dim, num_classes) for _ in self.lr_scales)

    def init_weights(self) -> None:
        """Start all projections alike, with the draw that `LinearHead` would have made."""
        super().init_weights()
        first = self.fcs[0]
        assert isinstance(first, nn.Linear)
        nn.init.trunc_normal_(first.weight, std=self.init_std)
        nn.init.zeros_(first.bias)
        for fc in self.fcs[1:]:
            fc.load_state_dict(first.state_dict())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to logits (B, G, num_classes)."""
        features = self.features(tokens)
        return torch.stack([fc(features) for fc in self.fcs], dim=1)

    def get_lr_scale(self, name: str) -> float:
        """Factor of the learning rate of a parameter, by its name within this module."""
        return self.lr_scales[int(name.split('.')[1])]
