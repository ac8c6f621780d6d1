"""Colour jitter: what the paper's table 1e finds to harm pre-training."""

import random
from collections.abc import Sequence

from torchvision.transforms import v2

from mae.datasets.transforms.base import Results, Transform, require_8_bits
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError

_Strength = float | Sequence[float]


@TRANSFORMS.register_module()
class ColorJitter(Transform):
    """torchvision's random brightness, contrast, saturation and hue, in random order.

    Args:
        brightness: factor in [1 - x, 1 + x], or (low, high); 0 changes nothing.
        contrast: as `brightness`.
        saturation: as `brightness`.
        hue: shift in [-x, x], x up to .5.
        prob: probability that an image is changed at all.
    """

    keeps_size = True

    def __init__(
        self,
        brightness: _Strength = 0.0,
        contrast: _Strength = 0.0,
        saturation: _Strength = 0.0,
        hue: _Strength = 0.0,
        *,
        prob: float = 1.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f'ColorJitter: prob must lie in [0, 1], got {prob}')
        self.prob = prob
        try:
            self.jitter = v2.ColorJitter(brightness, contrast, saturation, hue)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'ColorJitter: {error}') from None

    def transform(self, results: Results) -> Results:
        """Change the image.

        Raises:
            ConfigError: it has 16 bits.
        """
        require_8_bits(results['img'], 'ColorJitter')
        if self.prob == 1 or random.random() < self.prob:
            results['img'] = self.jitter(results['img'])
        return results
