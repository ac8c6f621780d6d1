"""What every transform here is: mmcv's base class plus one fact about randomness."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from mae.utils.errors import ConfigError

Results = dict[str, Any]
Size = int | tuple[int, int]


class Transform(BaseTransform):
    """Takes and returns the results dict; `img` is a uint8 tensor (C, H, W), never written into.

    A random transform draws from `random`, `numpy.random` or torch's default generator, which
    `SeededDataset` seeds per sample; one that draws nothing says so, which saves the seeding.
    """

    is_random = True

    @abstractmethod
    def transform(self, results: Results) -> Results:
        """The results, with this step done."""


def to_tensor(img: Any) -> Tensor:
    """A uint8 tensor (C, H, W) of a tensor (C, H, W) or an array (H, W) or (H, W, C).

    Raises:
        ValueError: it is neither, or not uint8.
    """
    if isinstance(img, np.ndarray) and img.ndim in (2, 3):
        # Always a copy: torch warns of arrays that may not be written to, as Pillow's. A pixel's
        # channels stay side by side, as in all images here: see `collate`.
        img = torch.from_numpy(np.array(np.atleast_3d(img), order='C')).permute(2, 0, 1)
    if not isinstance(img, Tensor) or img.ndim != 3 or img.dtype != torch.uint8:
        kind = f'{tuple(img.shape)} {img.dtype}' if hasattr(img, 'shape') else type(img).__name__
        raise ValueError(f'img must be uint8 (C, H, W), or an array (H, W, C), got {kind}')
    return img


def to_size(size: Size | list[int]) -> list[int]:
    """[height, width] of a config's size, one number meaning a square.

    Raises:
        ConfigError: not one or two positive numbers.
    """
    pair = [size, size] if isinstance(size, int) else list(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ConfigError(f'size must be a positive number or (height, width), got {size}')
    return pair
