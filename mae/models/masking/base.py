"""What all maskers share: score every patch, keep the K lowest (paper section 3, "Masking").

Shapes: B images, h w grid, L = h*w patches, K kept, M predicted.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mae.models.masking.mask import Mask
from mae.utils.hashing import key_noise

_PREDICT = 0x70726564696374  # b'predict': keeps this choice apart from the mask


class Masker(nn.Module, ABC):
    """Hides the same share of the patches of every image.

    Args:
        mask_ratio: share of hidden patches, in (0, 1).
        predict_ratio: share of the patches, of all of them, that are predicted in training: hidden
            ones, chosen at random. None predicts all that is hidden, as does evaluation always.
            Changed maths: another loss is learned from.

    Raises:
        ValueError: `mask_ratio` is outside (0, 1), or `predict_ratio` outside (0, mask_ratio].
    """

    def __init__(self, mask_ratio: float = 0.75, *, predict_ratio: float | None = None) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f'masker.mask_ratio must lie between 0 and 1, not {mask_ratio}')
        if predict_ratio is not None and not 0 < predict_ratio <= mask_ratio:
            raise ValueError(
                'masker.predict_ratio is a share of all patches: it must lie between 0 and '
                f'masker.mask_ratio={mask_ratio}, not {predict_ratio}'
            )
        self.mask_ratio = mask_ratio
        self.predict_ratio = predict_ratio

    def forward(
        self, grid_size: tuple[int, int], keys: Tensor, noise: Tensor | None = None
    ) -> Mask:
        """Choose the patches to hide.

        Args:
            grid_size: (h, w).
            keys: int64 (B,), the random key of each image (`mae.utils.hashing.sample_keys`).
            noise: (B, L), used instead of scores derived from `keys`; the K lowest are kept.
        """
        num_keep = self.num_keep(grid_size[0] * grid_size[1])
        order = (self.score(grid_size, keys) if noise is None else noise).argsort(dim=1)
        ids_keep, ids_hide = order[:, :num_keep], order[:, num_keep:]
        if self.predict_ratio is None or not self.training:
            return Mask(ids_keep, ids_hide)
        # Not the first in order: to some maskers their neighbours in the order are neighbours.
        shuffle = key_noise(keys ^ _PREDICT, ids_hide.shape[1]).argsort(dim=1)
        return Mask(ids_keep, ids_hide.gather(1, shuffle), self.num_predict(order.shape[1]))

    def num_keep(self, num_patches: int) -> int:
        """K for L patches, rounded down.

        Raises:
            ValueError: nothing would be visible, or nothing hidden.
        """
        num_keep = int(num_patches * (1 - self.mask_ratio))
        if not 0 < num_keep < num_patches:
            raise ValueError(
                f'masker.mask_ratio={self.mask_ratio} leaves {num_keep} of {num_patches} patches '
                'visible; at least one must be visible and one hidden'
            )
        return num_keep

    def num_predict(self, num_patches: int) -> int | None:
        """M for L patches, rounded and at least 1; None for all that is hidden."""
        if self.predict_ratio is None:
            return None
        num_hide = num_patches - self.num_keep(num_patches)
        return min(num_hide, max(1, round(num_patches * self.predict_ratio)))

    @abstractmethod
    def score(self, grid_size: tuple[int, int], keys: Tensor) -> Tensor:
        """(B, L): the higher, the sooner a patch is hidden; a function of `keys` alone."""
