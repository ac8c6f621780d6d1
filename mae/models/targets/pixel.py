"""What the decoder is to predict: the pixels of the hidden patches (paper section 3).

Shapes: B images, L patches, K kept, P values in a patch.
"""

from torch import Tensor, nn

from mae.registry import MODELS


@MODELS.register_module()
class PixelTarget(nn.Module):
    """Pixels, normalised within each patch when `norm_pix` (paper table 1d).

    Args:
        norm_pix: subtract a patch's mean and divide by its deviation (unbiased variance + eps).
        eps: added to the variance.
    """

    def __init__(self, norm_pix: bool = True, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm_pix = norm_pix
        self.eps = eps

    def forward(self, patches: Tensor) -> Tensor:
        """Hidden patches (B, L-K, P) to targets of the same shape."""
        if not self.norm_pix:
            return patches
        var, mean = patches.var(dim=-1, keepdim=True), patches.mean(dim=-1, keepdim=True)
        return (patches - mean) / (var + self.eps).sqrt()
