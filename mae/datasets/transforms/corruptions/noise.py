"""Noise: no length in pixels, so the same for images of every size."""

import numpy as np

from mae.datasets.transforms.corruptions.filters import FloatImage

GAUSSIAN_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation
SHOT_NOISE = (60, 25, 12, 5, 3)  # photons of white
IMPULSE_NOISE = (0.03, 0.06, 0.09, 0.17, 0.27)  # share of values


def gaussian_noise(pixels: FloatImage, deviation: float, scale: float) -> FloatImage:
    """Normal noise added to every value."""
    return pixels + np.random.normal(scale=deviation, size=pixels.shape).astype(np.float32)


def shot_noise(pixels: FloatImage, photons: float, scale: float) -> FloatImage:
    """A Poisson number of photons for every value."""
    return (np.random.poisson(pixels * photons) / photons).astype(np.float32)


def impulse_noise(pixels: FloatImage, share: float, scale: float) -> FloatImage:
    """Salt and pepper: a share of all values becomes 0 or 1, half of them each."""
    draws = np.random.uniform(size=pixels.shape)
    result = np.where(draws < share, np.float32(1), pixels)
    return np.where(draws < share / 2, np.float32(0), result)
