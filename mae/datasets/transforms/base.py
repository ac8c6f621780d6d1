"""What every transform here is: mmcv's base class plus facts on randomness, size and targets."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray
from torch import Tensor

from mae.utils.errors import ConfigError

Results = dict[str, Any]
Size = int | tuple[int, int]


class Transform(BaseTransform):
    """Takes and returns the results dict; `img` is a uint8 tensor (C, H, W), never written into.

    A random transform draws from `random`, `numpy.random` or torch's default generator, which
    `SeededDataset` seeds per sample.

    Attributes:
        is_random: False if it draws nothing, which saves the seeding.
        sets_size: True if the result has the size of the argument `size`, whatever the input's.
        keeps_size: True if the result has the input's size. A pipeline is compared with the
            model's image size only if its last transforms set or keep the size.
        has_targets: True if it gives samples with a label map or objects.
    """

    is_random = True
    sets_size = False
    keeps_size = False
    has_targets = False

    @abstractmethod
    def transform(self, results: Results) -> Results:
        """The results, with this step done."""


def to_tensor(img: Any) -> Tensor:
    """A uint8 tensor (C, H, W) of pixels in memory.

    Args:
        img: tensor (C, H, W) or (H, W) on any device, or array (H, W) or (H, W, C): uint8, or
            uint16, of which the upper 8 bits are kept, or bool, as 0 and 255.

    Raises:
        ValueError: another kind, type or shape, or without pixels.
    """
    if isinstance(img, Tensor):
        if img.is_meta or img.layout != torch.strided:
            kind = f'{img.layout} on {img.device}'
            raise ValueError(f'img must be a dense tensor with pixels, not {kind}')
        img = img.cpu()
    if isinstance(img, np.ndarray) and img.ndim in (2, 3) and _has_white(img.dtype):
        # Always a copy: torch warns of arrays that may not be written to, as Pillow's. A pixel's
        # channels stay side by side, as in all images here: see `collate`.
        img = torch.from_numpy(np.array(np.atleast_3d(_to_bytes(img)), order='C')).permute(2, 0, 1)
    elif isinstance(img, Tensor) and img.dtype in (torch.uint16, torch.bool):
        img = torch.from_numpy(_to_bytes(img.numpy()))
    if isinstance(img, Tensor) and img.ndim == 2:
        img = img[None]
    if not isinstance(img, Tensor) or img.ndim != 3 or img.dtype != torch.uint8:
        kind = f'{tuple(img.shape)} {img.dtype}' if hasattr(img, 'shape') else type(img).__name__
        raise ValueError(
            f'img must be uint8 (C, H, W), or an array (H, W, C), got {kind}; uint16 and bool are '
            'taken too, floats and wider integers have no agreed white'
        )
    if not img.numel():
        raise ValueError(f'img (C, H, W) has no pixels: {tuple(img.shape)}')
    return img


def _has_white(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == 'b' or (dtype.kind == 'u' and dtype.itemsize <= 2)


def _to_bytes(img: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 of an array that `_has_white`."""
    if img.dtype.kind == 'b':
        return img.astype(np.uint8) * np.uint8(255)
    return (img >> 8).astype(np.uint8) if img.dtype.itemsize == 2 else img


def to_size(size: Size | list[int]) -> list[int]:
    """[height, width] of a config's size, one number meaning a square.

    Raises:
        ConfigError: not one or two positive numbers.
    """
    pair = [size, size] if isinstance(size, int) else list(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ConfigError(f'size must be a positive number or (height, width), got {size}')
    return pair
