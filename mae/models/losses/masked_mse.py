"""The reconstruction loss (paper section 3, "Reconstruction target").

Shapes: B images, M predicted patches, T values predicted of a patch.
"""

from torch import Tensor, nn

from mae.registry import MODELS


@MODELS.register_module()
class MaskedMSELoss(nn.Module):
    """Squared error, averaged over the values of a patch, then over the hidden patches."""

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """(B, M, T) twice to the loss of each image, (B,).

        Raises:
            ValueError: the target is of another shape, such as the numbers of classes.
        """
        if pred.shape != target.shape:
            raise ValueError(
                f'MaskedMSELoss compares values of one shape, not predictions {tuple(pred.shape)} '
                f'with a target {tuple(target.shape)}'
            )
        return (pred.to(target.dtype) - target).square().mean(dim=-1).mean(dim=-1)
