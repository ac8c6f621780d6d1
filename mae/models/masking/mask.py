"""Which patches of an image are visible and which are hidden. Indices never count the cls token.

Shapes: B images, L patches, K kept, M predicted.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """The result of a masker.

    Attributes:
        ids_keep: int64 (B, K), visible patches in ascending order of noise.
        ids_hide: int64 (B, L-K), hidden patches in ascending order of noise, or, where only some
            are predicted, these first.
        num_predict: M; None predicts all that is hidden.
    """

    ids_keep: Tensor
    ids_hide: Tensor
    num_predict: int | None = None

    @property
    def ids_predict(self) -> Tensor:
        """int64 (B, M), the hidden patches to predict."""
        return self.ids_hide[:, : self.num_predict]

    def dense(self) -> Tensor:
        """float32 (B, L), in patch order: 1 where hidden, 0 where visible."""
        num_patches = self.ids_keep.shape[1] + self.ids_hide.shape[1]
        mask = self.ids_hide.new_zeros(len(self.ids_hide), num_patches).float()
        return mask.scatter_(1, self.ids_hide, 1.0)
