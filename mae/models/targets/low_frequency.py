"""Pixels without fine detail (Liu et al. 2023, "PixMIM", arXiv 2303.02416, section 3).

Half of PixMIM; the other half, a gentler crop, is a matter of the pipeline.

Shapes: B images, C channels, H W pixels, L patches, M predicted patches, P values in a patch.
"""

import torch
from torch import Tensor

from mae.models.layers.patches import patchify
from mae.models.layers.shapes import check_shape
from mae.models.targets.base import MaskLike
from mae.models.targets.pixel import PatchStats, PixelTarget
from mae.registry import MODELS


@MODELS.register_module()
class LowFrequencyTarget(PixelTarget):
    """Pixels of the image after an ideal low-pass filter, normalised as by `PixelTarget`.

    The filter sees the whole image: it keeps the frequencies of its Fourier transform up to a
    radius and drops the rest.

    Args:
        norm_pix: see `PixelTarget`, of the filtered patch.
        cutoff: the radius, in cycles per pixel, of at most .5 along a row or column; from .7072 on
            all is kept. The default is the paper's 40 cycles in 224 pixels.
        eps: see `PixelTarget`.
        patch_size: side in pixels; the model passes this and what follows when it is built.
        in_channels: C.

    Raises:
        ValueError: `cutoff` is not positive.
    """

    def __init__(
        self,
        norm_pix: bool = True,
        *,
        cutoff: float = 40 / 224,
        eps: float = 1e-6,
        patch_size: int,
        in_channels: int,
    ) -> None:
        super().__init__(norm_pix, eps=eps, patch_size=patch_size, in_channels=in_channels)
        if not cutoff > 0:
            raise ValueError(f'target.cutoff must be positive, in cycles per pixel, not {cutoff}')
        self.cutoff = cutoff

    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """Images (B, C, H, W) to filtered patches (B, M, P)."""
        return super().forward(images, patchify(self.low_pass(images), self.patch_size), mask)

    def to_pixels(
        self, pred: Tensor, images: Tensor, ids: Tensor, *, patch_stats: PatchStats = 'true'
    ) -> Tensor:
        """As of `PixelTarget`, with mean and deviation of the filtered patches."""
        return super().to_pixels(pred, self.low_pass(images), ids, patch_stats=patch_stats)

    def low_pass(self, images: Tensor) -> Tensor:
        """(B, C, H, W) without the frequencies above `cutoff`, in float32 or better.

        Raises:
            ValueError: not of four dimensions.
        """
        check_shape('images', images, 'B', 'C', 'H', 'W')
        H, W = images.shape[-2:]
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        spectrum = torch.fft.rfft2(images)  # B,C,H,W//2+1
        rows = torch.fft.fftfreq(H, dtype=torch.float64, device=images.device)
        columns = torch.fft.rfftfreq(W, dtype=torch.float64, device=images.device)
        # A little wider than `cutoff`, so that rounding does not drop what lies on the circle.
        kept = rows[:, None] ** 2 + columns**2 <= self.cutoff**2 * (1 + 1e-9)  # H,W//2+1
        filtered: Tensor = torch.fft.irfft2(spectrum * kept, s=(H, W))
        return filtered
