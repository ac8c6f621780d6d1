"""Resizes and crops for segmentation and detection: what is seen keeps its aspect.

Shapes: H W pixels.
"""

import random
from typing import Literal, get_args

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode

from mae.datasets.transforms.base import Results, Size, Transform, to_size
from mae.datasets.transforms.geometry import crop_sample, pad_sample, resize_sample
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError

Interpolation = Literal['bilinear', 'bicubic']
_CROPS = 10  # tries for one that no class fills


@TRANSFORMS.register_module()
class ResizeInside(Transform):
    """The largest size of the same aspect within `long_side` and `short_side`.

    Args:
        long_side: of the result at most, in pixels; None for any.
        short_side: of the result at most, in pixels; None for any.
        ratio_range: both limits are multiplied by a number that is uniform in it; (1, 1) draws
            none.
        interpolation: of the pixels; maps and masks take the nearest one.

    Raises:
        ConfigError: no limit at all, or a range that is not 0 < low <= high.
    """

    def __init__(
        self,
        long_side: int | None = None,
        short_side: int | None = None,
        *,
        ratio_range: tuple[float, float] = (1.0, 1.0),
        interpolation: Interpolation = 'bilinear',
    ) -> None:
        if (long_side or short_side) is None or min(long_side or 1, short_side or 1) < 1:
            raise ConfigError(
                f'ResizeInside needs long_side or short_side, from 1 on, not {long_side!r} and '
                f'{short_side!r}'
            )
        self.long_side = long_side
        self.short_side = short_side
        self.ratio_range = _check_range('ResizeInside.ratio_range', ratio_range)
        self.is_random = self.ratio_range != (1.0, 1.0)
        self.interpolation = _mode('ResizeInside', interpolation)

    def transform(self, results: Results) -> Results:
        ratio = random.uniform(*self.ratio_range) if self.is_random else 1.0
        height, width = results['img'].shape[-2:]
        short, long = sorted((height, width))
        limits = ((self.long_side, long), (self.short_side, short))
        factor = min(limit * ratio / side for limit, side in limits if limit is not None)
        height, width = (max(1, int(side * factor + 0.5)) for side in (height, width))
        resize_sample(results, height, width, self.interpolation)
        return results


@TRANSFORMS.register_module()
class ResizeToFit(Transform):
    """The largest size of the same aspect within `size`; `Pad` fills the rest.

    Args:
        size: in pixels, a number or (height, width).
        interpolation: of the pixels; maps and masks take the nearest one.
    """

    is_random = False

    def __init__(self, size: Size, *, interpolation: Interpolation = 'bilinear') -> None:
        self.size = to_size(size)
        self.interpolation = _mode('ResizeToFit', interpolation)

    def transform(self, results: Results) -> Results:
        height, width = _fitting(results, self.size)
        resize_sample(results, height, width, self.interpolation)
        return results


@TRANSFORMS.register_module()
class LargeScaleJitter(Transform):
    """Resize by a random factor, then cut a random part (Ghiasi et al. 2021, "Copy-Paste").

    The image is resized so that it fits into a square of `size` times a number uniform in `scale`.
    What is larger than `size` is cut at a random place; `Pad` fills what is smaller.

    Args:
        size: in pixels, a number or (height, width).
        scale: smallest and largest factor.
        interpolation: of the pixels; maps and masks take the nearest one.

    Raises:
        ConfigError: a range that is not 0 < low <= high.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.1, 2.0),
        *,
        interpolation: Interpolation = 'bilinear',
    ) -> None:
        self.size = to_size(size)
        self.scale = _check_range('LargeScaleJitter.scale', scale)
        self.interpolation = _mode('LargeScaleJitter', interpolation)

    def transform(self, results: Results) -> Results:
        height, width = _fitting(results, self.size, random.uniform(*self.scale))
        resize_sample(results, height, width, self.interpolation)
        rows, columns = min(height, self.size[0]), min(width, self.size[1])
        top, left = random.randint(0, height - rows), random.randint(0, width - columns)
        crop_sample(results, top, left, rows, columns)
        return results


@TRANSFORMS.register_module()
class ClassBalancedCrop(Transform):
    """A random part in which no class fills more than a share: ADE20K's crop.

    A smaller image is taken as it is; `Pad` fills the rest. Of ten parts the last one is taken even
    if a class fills it.

    Args:
        size: of the part, a number or (height, width).
        max_share: of a class among the pixels that are not ignored; 1 accepts the first part.
        ignore_index: label of pixels that do not count.

    Raises:
        ConfigError: `max_share` is outside (0, 1].
    """

    def __init__(self, size: Size, max_share: float = 0.75, *, ignore_index: int = 255) -> None:
        if not 0 < max_share <= 1:
            raise ConfigError(f'ClassBalancedCrop.max_share must lie in (0, 1], got {max_share}')
        self.size = to_size(size)
        self.max_share = max_share
        self.ignore_index = ignore_index

    def transform(self, results: Results) -> Results:
        """Cut it out.

        Raises:
            ValueError: there is no label map.
        """
        if 'map' not in results:
            raise ValueError('ClassBalancedCrop needs a label map; put LoadMap before it')
        height, width = results['img'].shape[-2:]
        rows, columns = min(height, self.size[0]), min(width, self.size[1])
        for _ in range(_CROPS):
            top, left = random.randint(0, height - rows), random.randint(0, width - columns)
            if self._is_balanced(results['map'][top : top + rows, left : left + columns]):
                break
        crop_sample(results, top, left, rows, columns)
        return results

    def _is_balanced(self, part: Tensor) -> bool:
        if self.max_share == 1:
            return True
        counts = torch.unique(part[part != self.ignore_index], return_counts=True)[1]
        return len(counts) > 1 and counts.max() < self.max_share * counts.sum()


@TRANSFORMS.register_module()
class Pad(Transform):
    """A border at the bottom and on the right, up to a fixed size; `shape` keeps what is picture.

    Args:
        size: of the result, a number or (height, width).
        fill: value of the new pixels, 0..255.
        map_fill: label of the new pixels.
    """

    is_random = False
    sets_size = True

    def __init__(self, size: Size, *, fill: int = 0, map_fill: int = 255) -> None:
        self.size = to_size(size)
        self.fill = fill
        self.map_fill = map_fill

    def transform(self, results: Results) -> Results:
        """Fill up.

        Raises:
            ValueError: the image is larger.
        """
        height, width = results['img'].shape[-2:]
        if height > self.size[0] or width > self.size[1]:
            raise ValueError(
                f'the image of {height}x{width} is larger than Pad.size={tuple(self.size)}; put a '
                'crop or a resize before it'
            )
        results['shape'] = (height, width)
        pad_sample(results, *self.size, fill=self.fill, map_fill=self.map_fill)
        return results


def _fitting(results: Results, size: list[int], factor: float = 1.0) -> tuple[int, int]:
    """The image's height and width, enlarged or reduced to fit `size` times a factor."""
    height, width = results['img'].shape[-2:]
    fit = factor * min(size[0] / height, size[1] / width)
    return max(1, int(height * fit + 0.5)), max(1, int(width * fit + 0.5))


def _check_range(name: str, value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not 0 < low <= high:
        raise ConfigError(f'{name} must be 0 < low <= high, got {value}')
    return float(low), float(high)


def _mode(name: str, interpolation: Interpolation) -> InterpolationMode:
    if interpolation not in get_args(Interpolation):
        raise ConfigError(
            f"{name}.interpolation must be 'bilinear' or 'bicubic', got {interpolation!r}"
        )
    return InterpolationMode(interpolation)
