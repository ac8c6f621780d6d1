"""What happens to an image on its way: contrast, distortion, large pixels, compression."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from mae.datasets.transforms.corruptions.filters import FloatImage, gaussian, smooth

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # what remains of the distance to the mean
ELASTIC_TRANSFORM = (12.5, 16.25, 21.25, 25, 30)  # factor of the smoothed shifts
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)  # 1 / side of a block in pixels
JPEG = (25, 18, 15, 10, 7)  # quality

_SHIFT, _WIDTH = 1.12, 2.24  # pixels: .5 and 1 % of 224
_TRUNCATE = 3


def contrast(pixels: FloatImage, share: float, scale: float) -> FloatImage:
    """Each channel drawn towards its mean."""
    mean = pixels.mean((0, 1), keepdims=True)
    result: FloatImage = (pixels - mean) * np.float32(share) + mean
    return result


def elastic_transform(pixels: FloatImage, factor: float, scale: float) -> FloatImage:
    """Every pixel shifted at random, near ones alike, as the package `imagecorruptions` has it.

    The authors' script moves three corners of the image as well.
    """
    height, width = pixels.shape[:2]
    draws = np.random.uniform(-_SHIFT, _SHIFT, (2, height, width)).astype(np.float32)
    draws = np.moveaxis(draws, 0, -1)
    shifts = smooth(draws, _WIDTH * scale, border='symmetric', truncate=_TRUNCATE)
    # A narrow Gaussian takes less from the shifts than the one of 224 px, which is made up for.
    shifts *= factor * scale * _remainder(1) / _remainder(scale)
    columns = (np.arange(width) + shifts[..., 0] + 0.5) / width * 2 - 1
    rows = (np.arange(height)[:, None] + shifts[..., 1] + 0.5) / height * 2 - 1
    grid = torch.from_numpy(np.stack([columns, rows], -1).astype(np.float32))
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    shifted = F.grid_sample(
        image[None], grid[None], mode='bilinear', padding_mode='reflection', align_corners=False
    )
    result: FloatImage = shifted[0].permute(1, 2, 0).numpy()
    return result


def _remainder(scale: float) -> float:
    """What smoothing leaves of the standard deviation of independent values."""
    return float(np.square(gaussian(_WIDTH * scale, _TRUNCATE)).sum())


def pixelate(pixels: FloatImage, share: float, scale: float) -> FloatImage:
    """Blocks of one colour, their mean; a block is scaled by what it is larger than a pixel."""
    share = 1 / (1 + (1 / share - 1) * scale)
    for axis in (0, 1):
        length = pixels.shape[axis]
        count = max(1, int(length * share))
        starts = np.floor(np.arange(count) * length / count + 0.5).astype(int)
        lengths = np.diff(starts, append=length).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = count
        means = np.add.reduceat(pixels, starts, axis) / lengths.reshape(shape)
        nearest = ((np.arange(length) + 0.5) * count / length).astype(int)
        pixels = means.take(nearest, axis)
    return pixels


def jpeg_compression(pixels: FloatImage, quality: int, scale: float) -> FloatImage:
    """Encoded as JPEG and decoded; blocks of 8x8 whatever the size of the image."""
    channels = pixels.shape[-1]
    levels = (pixels * 255).round().astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels[..., 0] if channels == 1 else levels).save(
        stream, 'JPEG', quality=quality
    )
    with Image.open(stream) as image:
        decoded = np.asarray(image, np.float32).reshape(pixels.shape)
    result: FloatImage = decoded / np.float32(255)
    return result
