"""What every transform here is: mmcv's base class plus facts on randomness, size and targets."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray
from torch import Tensor

from mae.utils.errors import ConfigError

_DEPTHS = {torch.uint8: 8, torch.uint16: 16}  # bits of a pixel's channel

Results = dict[str, Any]
Size = int | tuple[int, int]


class Transform(BaseTransform):
    """Takes and returns the results dict; `img` is a tensor (C, H, W), never written into.

    It is uint8, or uint16 from `DecodeImage(bits=16)`.

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


def to_tensor(img: Any, bits: int | None = 8) -> Tensor:
    """A tensor (C, H, W) of pixels in memory.

    Args:
        img: tensor (C, H, W) or (H, W) on any device, or array (H, W) or (H, W, C): uint8, uint16,
            or bool, which are black and white.
        bits: 8 gives uint8, of uint16 the upper 8 bits; 16 gives uint16, where 255 of uint8 becomes
            65,535; None keeps those of `img`.

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
        pixels = np.array(np.atleast_3d(_to_depth(img, bits)), order='C')
        img = torch.from_numpy(pixels).permute(2, 0, 1)
    elif isinstance(img, Tensor) and img.dtype in (*_DEPTHS, torch.bool):
        same = bits is None or _DEPTHS.get(img.dtype) == bits
        img = (
            img if same and img.dtype in _DEPTHS else torch.from_numpy(_to_depth(img.numpy(), bits))
        )
    if isinstance(img, Tensor) and img.ndim == 2:
        img = img[None]
    if not isinstance(img, Tensor) or img.ndim != 3 or img.dtype not in _DEPTHS:
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


def _to_depth(img: NDArray[Any], bits: int | None) -> NDArray[Any]:
    """uint8 or uint16 of an array that `_has_white`."""
    if img.dtype.kind == 'b':
        img = img.astype(np.uint8) * np.uint8(255)
    found = 8 * img.dtype.itemsize
    if found == 8:
        return img.astype(np.uint16) * np.uint16(257) if bits == 16 else img
    return (img >> 8).astype(np.uint8) if bits == 8 else img.astype(np.uint16, copy=False)


def require_8_bits(img: Tensor, name: str) -> None:
    """Refuse 16 bits in a transform that is defined for 8.

    Raises:
        ConfigError: `img` has 16.
    """
    if img.dtype != torch.uint8:
        raise ConfigError(
            f'{name} takes images of 8 bits, not of 16: leave it out of dataset.pipeline, or '
            'make its DecodeImage.bits 8'
        )


def to_size(size: Size | list[int]) -> list[int]:
    """[height, width] of a config's size, one number meaning a square.

    Raises:
        ConfigError: not one or two positive numbers.
    """
    pair = [size, size] if isinstance(size, int) else list(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ConfigError(f'size must be a positive number or (height, width), got {size}')
    return pair
