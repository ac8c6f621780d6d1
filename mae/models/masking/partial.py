"""Predicting only some of the hidden patches, chosen at random. Changed maths.

Shapes: B images, L patches, K kept, M predicted.
"""

from dataclasses import replace

from torch import Tensor

from mae.models.masking.mask import Mask
from mae.utils.hashing import key_noise
from mae.utils.ratio import exact

_PREDICT = 0x70726564696374  # b'predict': keeps this choice apart from the mask


def check_predict_ratio(predict_ratio: float | None, mask_ratio: float) -> None:
    """Raises ValueError unless a share of all patches lies in (0, mask_ratio]."""
    if predict_ratio is not None and not 0 < predict_ratio <= mask_ratio:
        raise ValueError(
            'masker.predict_ratio is a share of all patches: it must lie between 0 and '
            f'masker.mask_ratio={mask_ratio}, not {predict_ratio}'
        )


def choose(mask: Mask, keys: Tensor, predict_ratio: float | None) -> Mask:
    """The same mask, of which M hidden patches are to be predicted; None for all.

    Args:
        keys: int64 (B,), the random key of each image, which seeds the choice.
        predict_ratio: M / L, rounded to at least one patch and at most all that is hidden.
    """
    if predict_ratio is None:
        return mask
    num_hide = mask.ids_hide.shape[1]
    num_patches = mask.ids_keep.shape[1] + num_hide
    # Not the first in order: to some maskers neighbours in the order are neighbours in the image.
    shuffle = key_noise(keys ^ _PREDICT, num_hide).argsort(dim=1)
    num_predict = min(num_hide, max(1, round(num_patches * exact(predict_ratio))))
    return replace(mask, ids_hide=mask.ids_hide.gather(1, shuffle), num_predict=num_predict)
