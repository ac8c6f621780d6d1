from mae.models.masking.base import Masker
from mae.models.masking.block import BlockMasker
from mae.models.masking.grid import GridMasker
from mae.models.masking.mask import Mask
from mae.models.masking.random import RandomMasker
from mae.utils.hashing import key_noise, key_uniform

__all__ = [
    'BlockMasker',
    'GridMasker',
    'Mask',
    'Masker',
    'RandomMasker',
    'key_noise',
    'key_uniform',
]
