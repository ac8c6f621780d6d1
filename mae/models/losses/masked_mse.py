"""The reconstruction loss (paper section 3, "Reconstruction target").

Shapes: B images, M predicted patches, T values predicted of a patch.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mae.models.layers.shapes import check_shape
from mae.registry import MODELS


@MODELS.register_module()
class MaskedMSELoss(nn.Module):
    """Squared error, averaged over the values of a patch, then over the hidden patches."""

    is_elementwise = True

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Prediction and target, each (B, M, T), to the loss of each image, (B,).

        Raises:
            ValueError: they differ in shape, and torch would broadcast them.
        """
        hint = 'MaskedMSELoss compares values, not numbers of classes'
        check_shape('target', target, 'B', 'M', 'T', hint=hint)
        check_shape('pred', pred, *target.shape, hint='as the target is')
        error = F.mse_loss(pred.to(target.dtype), target, reduction='none')  # B,M,T
        return error.mean(dim=-1).mean(dim=-1)
