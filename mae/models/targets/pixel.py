"""The pixels of the hidden patches as what to predict (paper section 3).

Shapes: B images, C channels, H W pixels, L patches, M predicted patches, P values in a patch.
"""

from typing import Literal, get_args

from torch import Tensor

from mae.models.layers.patches import patchify
from mae.models.layers.shapes import check_shape
from mae.models.layers.tokens import take
from mae.models.targets.base import MaskLike, Target
from mae.registry import MODELS

PatchStats = Literal['true', 'visible']


@MODELS.register_module()
class PixelTarget(Target):
    """Pixels, normalised within each patch when `norm_pix` (paper table 1d).

    Args:
        norm_pix: subtract a patch's mean and divide by its deviation (unbiased variance + eps).
        eps: added to the variance.
        patch_size: side in pixels; the model passes this and what follows when it is built.
        in_channels: C.
    """

    is_elementwise = True

    def __init__(
        self, norm_pix: bool = True, *, eps: float = 1e-6, patch_size: int, in_channels: int
    ) -> None:
        super().__init__()
        self.norm_pix = norm_pix
        self.eps = eps
        self.patch_size = patch_size
        self.target_dim = patch_size**2 * in_channels

    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """Patches (B, L, P) to the normalised ones among them that are predicted (B, M, P).

        Raises:
            ValueError: patches of another size or number.
        """
        check_shape('patches', patches, 'B', 'L', self.target_dim)
        hidden = take(patches, mask.ids_predict)
        if not self.norm_pix:
            return hidden
        mean, deviation = self._statistics(hidden)
        return (hidden - mean) / deviation

    def to_pixels(
        self, pred: Tensor, images: Tensor, ids: Tensor, *, patch_stats: PatchStats = 'true'
    ) -> Tensor:
        """Predictions as values of normalised images (B, M, P), for pictures.

        With `norm_pix` the model predicts a patch without its mean and deviation, so these must
        come from elsewhere.

        Args:
            pred: (B, M, P).
            images: normalised (B, C, H, W).
            ids: int64 (B, M), all hidden patches.
            patch_stats: 'true' takes mean and deviation of each true patch, as the authors'
                pictures do; 'visible' the average ones of the image's visible patches.

        Raises:
            ValueError: unknown `patch_stats`.
        """
        if patch_stats not in get_args(PatchStats):
            raise ValueError(f"patch_stats must be 'true' or 'visible', not {patch_stats!r}")
        if not self.norm_pix:
            return pred
        mean, deviation = self._statistics(patchify(images, self.patch_size))  # B,L,1
        if patch_stats == 'true':
            return pred * take(deviation, ids) + take(mean, ids)
        weight = mean.new_ones(mean.shape).scatter(1, ids[..., None], 0.0)  # B,L,1: 1 where visible
        weight = weight / weight.sum(dim=1, keepdim=True)
        return pred * (deviation * weight).sum(1, True) + (mean * weight).sum(1, True)

    def _statistics(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each patch, last dimension 1."""
        var, mean = patches.var(dim=-1, keepdim=True), patches.mean(dim=-1, keepdim=True)
        return mean, (var + self.eps).sqrt()
