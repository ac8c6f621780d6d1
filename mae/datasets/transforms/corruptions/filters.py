"""What several corruptions need: smoothing, motion and enlargement of pixels (H, W, C)."""

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

FloatImage = NDArray[np.float32]


def smooth(
    pixels: FloatImage, sigma: float, *, border: Literal['edge', 'symmetric'], truncate: float
) -> FloatImage:
    """Gaussian blur.

    Args:
        pixels: (H, W, C).
        sigma: standard deviation in pixels.
        border: how the image goes on beyond its border, in the words of `numpy.pad`.
        truncate: where the Gaussian ends, in standard deviations.
    """
    weights = gaussian(sigma, truncate)
    radius = len(weights) // 2
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.moveaxis(np.pad(pixels, pad, mode=border), axis, 0)
        length = pixels.shape[axis]
        total = np.zeros_like(padded[:length])
        for at, weight in enumerate(weights):
            total += weight * padded[at : at + length]
        pixels = np.moveaxis(total, 0, axis)
    return pixels


def gaussian(sigma: float, truncate: float) -> FloatImage:
    """Weights (2R + 1,) of a Gaussian, whose sum is 1; see `smooth`."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    normalised: FloatImage = (weights / weights.sum()).astype(np.float32)
    return normalised


def move(pixels: FloatImage, radius: float, sigma: float, angle: float) -> FloatImage:
    """Motion blur: a weighted mean of copies, each moved by one pixel more.

    Args:
        pixels: (H, W, C).
        radius: half the length of the motion in pixels.
        sigma: standard deviation in pixels of the one-sided Gaussian that weighs the copies.
        angle: of the motion, in degrees from the horizontal.
    """
    steps = np.arange(round(2 * radius) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows = -np.ceil(steps * math.sin(math.radians(angle)) - 0.5).astype(int)
    columns = -np.ceil(steps * math.cos(math.radians(angle)) - 0.5).astype(int)
    height, width = pixels.shape[:2]
    border = int(max(np.abs(rows).max(), np.abs(columns).max()))
    padded = np.pad(pixels, [(border, border), (border, border), (0, 0)], mode='edge')
    moved = np.zeros_like(pixels)
    for weight, row, column in zip(weights, rows, columns, strict=True):
        top, left = border - row, border - column
        moved += weight * padded[top : top + height, left : left + width]
    return moved


def enlarge_centre(pixels: FloatImage, factor: float) -> FloatImage:
    """The centre of the image, enlarged bilinearly by `factor` >= 1 to its size (H, W, C)."""
    height, width = pixels.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    centre = torch.from_numpy(pixels[top : top + rows, left : left + columns])
    size = [max(round(rows * factor), height), max(round(columns * factor), width)]
    large = F.interpolate(
        centre.permute(2, 0, 1)[None], size=size, mode='bilinear', align_corners=True
    )
    enlarged: FloatImage = large[0, :, :height, :width].permute(1, 2, 0).numpy()
    return enlarged


def convolve(pixels: FloatImage, kernel: FloatImage) -> FloatImage:
    """Each channel of (H, W, C) with one kernel (K, K), K odd; the image is mirrored beyond."""
    border = len(kernel) // 2
    pad = [(border, border), (border, border), (0, 0)]
    padded = torch.from_numpy(np.pad(pixels, pad, mode='reflect')).permute(2, 0, 1)
    convolved = F.conv2d(padded[:, None], torch.from_numpy(kernel)[None, None])
    result: FloatImage = convolved[:, 0].permute(1, 2, 0).numpy()
    return result
