"""Blur: out of focus, behind glass, by motion and by zoom."""

import numpy as np

from mae.datasets.transforms.corruptions.filters import (
    FloatImage,
    convolve,
    enlarge_centre,
    move,
    smooth,
)

# Radius of the disk and standard deviation of what smooths its border, in pixels. The latter is
# about the grid of pixels and not scaled.
DEFOCUS_BLUR = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
# Standard deviation in pixels, longest shift in pixels, rounds.
GLASS_BLUR = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
# Radius and standard deviation in pixels.
MOTION_BLUR = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
# Largest factor (excluded) and step from 1 on.
ZOOM_BLUR = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))

_FINE = 9  # points along each axis of a pixel, by which a disk's share of it is measured


def defocus_blur(pixels: FloatImage, constants: tuple[float, float], scale: float) -> FloatImage:
    """Mean over a disk."""
    radius, border = constants
    radius = min(radius * scale, (min(pixels.shape[:2]) - 3) / 2)  # mirrored once, not twice
    return convolve(pixels, _disk(max(radius, 0), border))


def _disk(radius: float, border: float) -> FloatImage:
    """Kernel (K, K): the share of each pixel within the disk, smoothed over the next pixels."""
    reach = int(np.ceil(radius)) + 1
    fine = (np.arange((2 * reach + 1) * _FINE) + 0.5) / _FINE - reach - 0.5
    inside = (fine[:, None] ** 2 + fine**2 <= max(radius, 1 / _FINE) ** 2).astype(np.float32)
    shares = inside.reshape(2 * reach + 1, _FINE, 2 * reach + 1, _FINE).mean((1, 3))
    size = 3 if radius <= 8 else 5
    smoothed = smooth(shares[..., None], border, border='edge', truncate=size // 2 / border)
    kernel: FloatImage = smoothed[..., 0] / smoothed.sum()
    return kernel


def glass_blur(pixels: FloatImage, constants: tuple[float, int, int], scale: float) -> FloatImage:
    """FloatImage take the place of near ones, one after the other, between two Gaussian blurs.

    The authors' loop means to exchange two pixels of an image in colour, but gives both places the
    same one; their images, and so these, are made that way.
    """
    sigma, shift, rounds = constants
    shift = max(1, round(shift * scale))
    height, width = pixels.shape[:2]
    blurred = smooth(pixels, sigma * scale, border='edge', truncate=4)
    places = np.arange(height * width).reshape(height, width)
    moved = places[shift + 1 : height - shift + 1, shift + 1 : width - shift + 1].ravel()[::-1]
    order: list[int] = places.ravel().tolist()
    for _ in range(rounds):
        rows, columns = np.random.randint(-shift, shift, (2, len(moved)))
        taken = (moved + rows * width + columns).tolist()
        for place, other in zip(moved.tolist(), taken, strict=True):
            order[place] = order[other]
    shuffled = blurred.reshape(height * width, -1)[order].reshape(pixels.shape)
    return smooth(shuffled, sigma * scale, border='edge', truncate=4)


def motion_blur(pixels: FloatImage, constants: tuple[float, float], scale: float) -> FloatImage:
    """Motion in a random direction within 45 degrees of the horizontal."""
    radius, sigma = constants
    return move(pixels, radius * scale, sigma * scale, np.random.uniform(-45, 45))


def zoom_blur(pixels: FloatImage, constants: tuple[float, float], scale: float) -> FloatImage:
    """Mean of the image and its enlargements."""
    factors = np.arange(1, *constants)
    total = sum((enlarge_centre(pixels, factor) for factor in factors), pixels)
    return total / np.float32(len(factors) + 1)
