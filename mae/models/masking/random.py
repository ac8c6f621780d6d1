"""Uniform random masking, the paper's choice (section 3 and table 1f)."""

from torch import Tensor

from mae.models.masking.base import Masker
from mae.registry import MODELS
from mae.utils.hashing import key_noise


@MODELS.register_module()
class RandomMasker(Masker):
    """Every patch is as likely to be hidden as any other."""

    def score(self, grid_size: tuple[int, int], keys: Tensor) -> Tensor:
        return key_noise(keys, grid_size[0] * grid_size[1])
