"""The loss of targets that are classes, such as the tokens of a tokeniser (as in BEiT).

Shapes: B images, M predicted patches, T classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mae.registry import MODELS


@MODELS.register_module()
class MaskedCrossEntropyLoss(nn.Module):
    """Cross entropy of the class of each hidden patch, averaged over the patches."""

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Logits (B, M, T) and classes, int64 (B, M), to the loss of each image, (B,).

        Raises:
            ValueError: the target is no class number.
        """
        if target.shape != pred.shape[:-1] or target.is_floating_point():
            raise ValueError(
                'MaskedCrossEntropyLoss needs a target that gives the number of a class for each '
                f'patch, not {target.dtype} of shape {tuple(target.shape)}'
            )
        logits = pred.to(torch.promote_types(pred.dtype, torch.float32))
        return F.cross_entropy(logits.mT, target, reduction='none').mean(dim=-1)
