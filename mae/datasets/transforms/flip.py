"""Flips and shifts: cheap moves of whole pixels."""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mae.datasets.transforms.base import Results, Transform
from mae.datasets.transforms.geometry import flip_sample, note_move, refuse_annotated
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError


@TRANSFORMS.register_module()
class RandomFlip(Transform):
    """Horizontal flip with probability `prob`, of maps, masks and boxes too."""

    keeps_size = True

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f'RandomFlip: prob must lie in [0, 1], got {prob}')
        self.prob = prob

    def transform(self, results: Results) -> Results:
        if random.random() < self.prob:
            flip_sample(results)
        return results


@TRANSFORMS.register_module()
class RandomShift(Transform):
    """Moves the image by up to `pixels` in each direction, all equally likely (pad and crop).

    Args:
        pixels: largest shift along each axis, at least 1.
        fill: value of the padding at the border, 0..255.
    """

    keeps_size = True

    def __init__(self, pixels: int, fill: int = 0) -> None:
        if pixels < 1 or not 0 <= fill <= 255:
            raise ConfigError(
                f'RandomShift: pixels must be >= 1 and fill in 0..255, got {pixels}, {fill}'
            )
        self.pixels = pixels
        self.fill = fill

    def transform(self, results: Results) -> Results:
        """Shift the image.

        Raises:
            ValueError: it has a label map or objects.
        """
        refuse_annotated(results, 'RandomShift')
        note_move(results, 'RandomShift')
        img = results['img']
        height, width = img.shape[-2:]
        top = random.randint(0, 2 * self.pixels)
        left = random.randint(0, 2 * self.pixels)
        padded = self._pad(img.numpy())
        results['img'] = torch.from_numpy(padded[:, top : top + height, left : left + width])
        return results

    def _pad(self, img: NDArray[Any]) -> NDArray[Any]:
        """(C, H, W) with `pixels` of `fill` on each side; `np.pad` takes ten times as long."""
        channels, height, width = img.shape
        border = self.pixels
        fill = self.fill if img.dtype == np.uint8 else 257 * self.fill  # the same grey in 16 bits
        padded = np.full((channels, height + 2 * border, width + 2 * border), fill, img.dtype)
        padded[:, border : border + height, border : border + width] = img
        return padded
