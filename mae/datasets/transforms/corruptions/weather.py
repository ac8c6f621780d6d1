"""Weather: snow, fog and too much light. Frost is not here, as it needs photographs of ice."""

import math

import numpy as np

from mae.datasets.transforms.corruptions.filters import FloatImage, enlarge_centre, move

# Mean and standard deviation of the noise that flakes are made of, their size in pixels, the
# threshold below which there is none, radius and standard deviation in pixels of their motion, and
# the weight of the image beside its whitened copy.
SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
FOG = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))  # thickness, decay of its detail
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to V of HSV

_TO_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601


def snow(pixels: FloatImage, constants: tuple[float, ...], scale: float) -> FloatImage:
    """A whitened image and flakes in motion, which fall once more turned by half a circle."""
    mean, deviation, size, threshold, radius, sigma, weight = constants
    flakes = np.random.normal(mean, deviation, (*pixels.shape[:2], 1)).astype(np.float32)
    flakes = enlarge_centre(flakes, max(1, size * scale))
    flakes = np.where(flakes < threshold, np.float32(0), flakes.clip(0, 1))
    flakes = move(flakes, radius * scale, sigma * scale, np.random.uniform(-135, -45))
    grey = pixels @ _TO_GREY[:, None] if pixels.shape[-1] == 3 else pixels
    whitened = np.maximum(pixels, grey * 1.5 + 0.5)
    fallen = flakes + flakes[::-1, ::-1]
    result: FloatImage = weight * pixels + (1 - weight) * whitened + fallen
    return result


def fog(pixels: FloatImage, constants: tuple[float, float], scale: float) -> FloatImage:
    """Clouds added to the image, which keeps its largest value; their size follows the image's."""
    thickness, decay = constants
    height, width = pixels.shape[:2]
    clouds = _clouds(max(height, width), decay)[:height, :width, None]
    largest = pixels.max()
    result: FloatImage = (pixels + thickness * clouds) * (largest / (largest + thickness))
    return result


def _clouds(size: int, decay: float) -> FloatImage:
    """A height map in 0..1 by diamond and square (Fournier et al. 1982), at least (size, size).

    Each level doubles the map, which has no border: its right end continues at its left one.
    """
    heights = np.zeros((1, 1))
    for level in range(math.ceil(math.log2(size)) if size > 1 else 1):
        amplitude = decay ** (-2.0 * level)
        count = len(heights)
        right, below = np.roll(heights, -1, 1), np.roll(heights, -1, 0)
        corners = heights + right + below + np.roll(below, -1, 1)
        draws = np.random.uniform(-amplitude, amplitude, (3, count, count))
        centres = corners / 4 + draws[0]
        finer = np.empty((2 * count, 2 * count))
        finer[::2, ::2] = heights
        finer[1::2, 1::2] = centres
        finer[::2, 1::2] = (heights + right + centres + np.roll(centres, 1, 0)) / 4 + draws[1]
        finer[1::2, ::2] = (heights + below + centres + np.roll(centres, 1, 1)) / 4 + draws[2]
        heights = finer
    heights -= heights.min()
    clouds: FloatImage = (heights / heights.max()).astype(np.float32)
    return clouds


def brightness(pixels: FloatImage, added: float, scale: float) -> FloatImage:
    """V of HSV raised, hue and saturation kept: the same factor for all channels of a pixel."""
    value = pixels.max(-1, keepdims=True)
    raised = np.minimum(value + np.float32(added), 1)
    factor = np.divide(raised, value, out=np.zeros_like(value), where=value > 0)
    result: FloatImage = np.where(value > 0, pixels * factor, raised)
    return result
