"""What all maskers share: score every patch, keep the K lowest (paper section 3, "Masking").

Shapes: B images, h w grid, L = h*w patches, K kept, M predicted.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

from torch import Tensor, nn

from mae.models.layers.shapes import check_device, check_keys, check_real, check_shape
from mae.models.masking.mask import Mask
from mae.utils.hashing import key_noise
from mae.utils.ratio import exact

_PREDICT = 0x70726564696374  # b'predict': a stream of random numbers beside that of the mask


class Masker(nn.Module, ABC):
    """Hides the same share of the patches of every image.

    Args:
        mask_ratio: share of hidden patches, in (0, 1).
        predict_ratio: in training only this share of all patches, drawn from the hidden ones, is
            predicted (changed maths); None predicts all hidden patches, as evaluation always does.

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

        Raises:
            ValueError: grid, keys or noise of another shape or type, noise that is NaN, or a
                subclass's scores of another shape.
        """
        if not _is_grid(grid_size):
            raise ValueError(f'grid_size must be two whole numbers (h, w), not {grid_size!r}')
        L = grid_size[0] * grid_size[1]
        num_keep = self.num_keep(L)
        check_keys(keys, 'B')
        if noise is not None:
            check_shape('noise', noise, len(keys), L)
            check_device('noise', noise, keys)
            check_real('noise', noise)
            score = noise
        else:
            score = self.score(grid_size, keys)
            check_shape(f'{type(self).__name__}.score', score, len(keys), L)
        order = score.argsort(dim=1)
        mask = Mask(ids_keep=order[:, :num_keep], ids_hide=order[:, num_keep:])
        return _with_some_predicted(mask, keys, self.predict_ratio) if self.training else mask

    def num_keep(self, num_patches: int) -> int:
        """K for L patches: L (1 - mask_ratio), rounded down.

        Computed exactly. In floats, as the authors compute it, K may come out one too small (19 of
        100 at .8), though in none of their recipes.

        Raises:
            ValueError: nothing would be visible, or nothing hidden.
        """
        num_keep = int(num_patches * (1 - exact(self.mask_ratio)))
        if not 0 < num_keep < num_patches:
            raise ValueError(
                f'masker.mask_ratio={self.mask_ratio} leaves {num_keep} of {num_patches} patches '
                'visible; at least one must be visible and one hidden'
            )
        return num_keep

    @abstractmethod
    def score(self, grid_size: tuple[int, int], keys: Tensor) -> Tensor:
        """(B, L): the higher, the sooner a patch is hidden; a function of `keys` alone."""


def _is_grid(size: object) -> bool:
    if not isinstance(size, Sequence) or len(size) != 2:
        return False
    return all(isinstance(number, Integral) for number in size)


def _with_some_predicted(mask: Mask, keys: Tensor, predict_ratio: float | None) -> Mask:
    """The same mask, of which only M hidden patches, drawn by `keys`, are to be predicted.

    M / L is `predict_ratio`, rounded to at least one patch and at most all hidden ones.
    """
    if predict_ratio is None:
        return mask
    num_hide = mask.ids_hide.shape[1]
    num_patches = mask.ids_keep.shape[1] + num_hide
    # Drawn at random, because some maskers order hidden patches by their place in the image.
    shuffle = key_noise(keys ^ _PREDICT, num_hide).argsort(dim=1)
    num_predict = min(num_hide, max(1, round(num_patches * exact(predict_ratio))))
    return replace(mask, ids_hide=mask.ids_hide.gather(1, shuffle), num_predict=num_predict)
