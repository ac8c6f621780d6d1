"""The interface of targets: they see the whole image and state how many values to predict.

Shapes: B images, C channels, H W pixels, L patches, M predicted patches, P values in a patch,
T values predicted of a patch.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn


class MaskLike(Protocol):
    """What a target needs of `mae.models.masking.mask.Mask`."""

    @property
    def ids_predict(self) -> Tensor:
        """int64 (B, M), the hidden patches to predict."""

    def dense(self) -> Tensor:
        """float32 (B, L): 1 where hidden, 0 where visible."""


class Target(nn.Module, ABC):
    """What the decoder is to predict of each hidden patch: a function of the image, not learned.

    A constructor receives as keywords those that it names of `patch_dim`, `patch_size`,
    `in_channels`, `grid_size` (h, w), `img_size` (H, W), `encoder_dim`, `num_prefix_tokens`, and
    `image_mean` and `image_std` (C, 1, 1), with which grey levels were normalised.

    Attributes:
        target_dim: T, the width that the decoder predicts.
    """

    target_dim: int

    @abstractmethod
    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """The target of the patches `mask.ids_predict`.

        Args:
            images: normalised (B, C, H, W).
            patches: (B, L, P), the same images cut into patches.
            mask: which patches are hidden, and which of these are predicted.

        Returns:
            (B, M, T); or the number of a class of T, int64 (B, M), for a loss that takes it.
        """

    def set_img_size(self, img_size: tuple[int, int]) -> None:
        """Take images of another size (H, W) from now on.

        Raises:
            ValueError: this target cannot.
        """

    def fingerprint(self) -> str | None:
        """Hash of what the target depends on beside its arguments, such as a file; or None."""
        return None
