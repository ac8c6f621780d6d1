"""Crops and resizes, bicubic with antialiasing, as torchvision does them."""

import math
import random
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as F

from mae.datasets.transforms.base import Results, Size, Transform, to_size
from mae.datasets.transforms.geometry import (
    crop_sample,
    is_annotated,
    note_move,
    resize_pixels,
    resize_sample,
)
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError

Oversize = Literal['redraw', 'clamp']
_MAX_PIXELS = 2**27  # of a result: a thin image grows with the square of the enlargement


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@TRANSFORMS.register_module()
class RandomResizedCrop(Transform):
    """A random part of the image, resized: the only augmentation of MAE's pre-training (A.1).

    The area is uniform within `scale`, the ratio log-uniform within `ratio`, the place uniform.
    Maps, masks and boxes move too.

    Args:
        size: side of the result in pixels, or (height, width).
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height.
        oversize: if a drawn side is longer than the image's, 'redraw' draws area and ratio again,
            up to ten times, and then takes the middle, as torchvision does; 'clamp' shortens the
            side to the image's, as the authors do for the linear probe: the ratio may exceed its
            range, and large crops are more frequent.
    """

    sets_size = True

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.2, 1.0),
        *,
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        oversize: Oversize = 'redraw',
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ConfigError(f'RandomResizedCrop: scale must be 0 < low <= high, got {scale}')
        if not 0 < ratio[0] <= ratio[1]:
            raise ConfigError(f'RandomResizedCrop: ratio must be 0 < low <= high, got {ratio}')
        if oversize not in get_args(Oversize):
            raise ConfigError(
                f"RandomResizedCrop: oversize must be 'redraw' or 'clamp', got {oversize!r}"
            )
        self.size = to_size(size)
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.oversize = oversize
        self._log_ratio = torch.tensor(ratio).log().tolist()

    def transform(self, results: Results) -> Results:
        img = results['img']
        box = self.draw(*img.shape[-2:])
        if is_annotated(results):
            crop_sample(results, *box)
            resize_sample(results, *self.size)
        else:
            note_move(results, 'a crop')
            results['img'] = self.cut(img, box)
        return results

    def draw(self, height: int, width: int) -> Box:
        """The part of an image of that size.

        With 'redraw' the draws are those of torchvision's transform, which takes three times as
        long and needs the decoded pixels.
        """
        for _ in range(10):
            h, w = self._draw_sides(height * width)
            if self.oversize == 'clamp':
                h, w = min(max(h, 1), height), min(max(w, 1), width)
            if 0 < h <= height and 0 < w <= width:
                top = torch.randint(height - h + 1, (1,)).item()
                left = torch.randint(width - w + 1, (1,)).item()
                return Box(int(top), int(left), h, w)
        # None fits, as in a very long image: the middle, as much of it as `ratio` allows.
        low, high = self.ratio
        h = round(width / low) if width / height < low else height
        w = round(height * high) if width / height > high else width
        return Box((height - h) // 2, (width - w) // 2, h, w)

    def _draw_sides(self, pixels: int) -> tuple[int, int]:
        """Height and width for an image of `pixels` pixels; they may exceed its sides."""
        area = pixels * torch.empty(1).uniform_(*self.scale).item()
        ratio = torch.empty(1).uniform_(*self._log_ratio).exp().item()
        return round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))

    def cut(self, img: Tensor, box: Box) -> Tensor:
        """(C, *size) of the part."""
        top, left, height, width = box
        crop = img[:, top : top + height, left : left + width]
        if crop.dtype == torch.uint16:
            return resize_pixels(crop, *self.size)
        # F.resized_crop calls this; called directly, a tiny image takes half the time. With the
        # channels last in the input the result is not rearranged into planes: 30 % of the resize.
        crop = crop[None].contiguous(memory_format=torch.channels_last)
        return interpolate(crop, self.size, mode='bicubic', antialias=True)[0]


@TRANSFORMS.register_module()
class RandomCrop(Transform):
    """A random part of a fixed size, without resizing: the milder crop of the paper's table 1e.

    Maps, masks and boxes move too.

    Args:
        size: side of the result in pixels, or (height, width).
    """

    sets_size = True

    def __init__(self, size: Size) -> None:
        self.size = to_size(size)

    def transform(self, results: Results) -> Results:
        """Crop the image.

        Raises:
            ValueError: the image is smaller.
        """
        img = results['img']
        height, width = self.size
        rows, columns = img.shape[-2] - height, img.shape[-1] - width
        if rows < 0 or columns < 0:
            raise ValueError(
                f'the image of {img.shape[-2]}x{img.shape[-1]} is smaller than the crop of '
                f'{height}x{width}; put ResizeShort before it'
            )
        top, left = random.randint(0, rows), random.randint(0, columns)
        crop_sample(results, top, left, height, width)
        return results


@TRANSFORMS.register_module()
class ResizeShort(Transform):
    """The shorter side becomes `size`, or `size / crop_pct`; the longer one follows.

    Maps, masks and boxes that are loaded already move too.

    Args:
        size: in pixels; the larger one of (height, width).
        crop_pct: share of the shorter side that a `CenterCrop` of `size` is to keep.
    """

    is_random = False

    def __init__(self, size: Size, *, crop_pct: float = 1.0) -> None:
        if not 0 < crop_pct <= 1:
            raise ConfigError(f'ResizeShort: crop_pct must lie in (0, 1], got {crop_pct}')
        self.size = round(max(to_size(size)) / crop_pct)

    def transform(self, results: Results) -> Results:
        """Resize the image.

        Raises:
            ValueError: the image is so thin that the result would fill the memory.
        """
        height, width = results['img'].shape[-2:]
        short, long = sorted((height, width))
        if self.size * self.size * long > _MAX_PIXELS * short:
            raise ValueError(
                f'an image of {short}x{long} would become {self.size} times '
                f'{self.size * long // short} pixels'
            )
        longer = int(self.size * long / short)  # as torchvision rounds it
        new = (self.size, longer) if height <= width else (longer, self.size)
        resize_sample(results, *new)
        return results


@TRANSFORMS.register_module()
class CenterCrop(Transform):
    """The middle of the image, and of what belongs to it; a smaller image is padded with zeros."""

    is_random = False
    sets_size = True

    def __init__(self, size: Size) -> None:
        self.size = to_size(size)

    def transform(self, results: Results) -> Results:
        """Cut it out.

        Raises:
            ValueError: an image with a label map or objects is smaller.
        """
        if not is_annotated(results):
            note_move(results, 'a crop')
            results['img'] = F.center_crop_image(results['img'], self.size)
            return results
        (height, width), (rows, columns) = results['img'].shape[-2:], self.size
        if rows > height or columns > width:
            raise ValueError(
                f'the image of {height}x{width} is smaller than CenterCrop.size={self.size}, and '
                'has a label map or objects; take Pad before it'
            )
        top, left = round((height - rows) / 2), round((width - columns) / 2)
        crop_sample(results, top, left, rows, columns)
        return results
