"""What the decoder is to predict: the pixels of the hidden patches (paper section 3).

Shapes: B images, C channels, H W pixels, L patches, M predicted patches, P values in a patch.
"""

from torch import Tensor

from mae.models.layers.patches import patchify
from mae.models.layers.tokens import take
from mae.models.targets.base import MaskLike, Target
from mae.registry import MODELS


@MODELS.register_module()
class PixelTarget(Target):
    """Pixels, normalised within each patch when `norm_pix` (paper table 1d).

    Args:
        norm_pix: subtract a patch's mean and divide by its deviation (unbiased variance + eps).
        eps: added to the variance.
        patch_size: in pixels; this and the rest is handed over when a model is built.
        in_channels: C.
    """

    def __init__(
        self, norm_pix: bool = True, *, eps: float = 1e-6, patch_size: int, in_channels: int
    ) -> None:
        super().__init__()
        self.norm_pix = norm_pix
        self.eps = eps
        self.patch_size = patch_size
        self.target_dim = patch_size**2 * in_channels

    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """Patches (B, L, P) to the normalised ones among them that are predicted (B, M, P)."""
        hidden = take(patches, mask.ids_predict)
        if not self.norm_pix:
            return hidden
        mean, deviation = self._statistics(hidden)
        return (hidden - mean) / deviation

    def to_pixels(self, pred: Tensor, images: Tensor, ids: Tensor) -> Tensor:
        """Predictions as values of normalised images, to be looked at.

        With `norm_pix` each patch gets the mean and deviation of the true one, which the model
        itself does not know.

        Args:
            pred: (B, M, P).
            images: normalised (B, C, H, W).
            ids: int64 (B, M), the patches that are predicted.
        """
        if not self.norm_pix:
            return pred
        mean, deviation = self._statistics(take(patchify(images, self.patch_size), ids))
        return pred * deviation + mean

    def _statistics(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each patch, (B, M, 1)."""
        var, mean = patches.var(dim=-1, keepdim=True), patches.mean(dim=-1, keepdim=True)
        return mean, (var + self.eps).sqrt()
