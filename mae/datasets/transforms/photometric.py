"""Random brightness, contrast, saturation and hue, as segmentation recipes have them."""

import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from mae.datasets.transforms.base import Results, Transform, require_8_bits, to_tensor
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError
from mae.utils.text import counted


@TRANSFORMS.register_module()
class PhotometricDistortion(Transform):
    """Four changes, each with probability 1/2 (Liu et al. 2016, "SSD", section 3.6).

    Brightness is added, contrast multiplied, either before or behind saturation and hue, which are
    changed in HSV. Unlike `ColorJitter`, contrast scales around black.

    Args:
        brightness: largest change of the values, 0..255.
        contrast: smallest and largest factor of the values.
        saturation: smallest and largest factor of S.
        hue: largest change of H in degrees, up to 180.
    """

    keeps_size = True

    def __init__(
        self,
        brightness: int = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 36.0,
    ) -> None:
        if not 0 <= brightness <= 255 or not 0 <= hue <= 180:
            raise ConfigError(
                'PhotometricDistortion: brightness must lie in 0..255 and hue in 0..180, got '
                f'{brightness} and {hue}'
            )
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def transform(self, results: Results) -> Results:
        """Change `img`.

        Raises:
            ValueError: it is not RGB.
            ConfigError: it has 16 bits.
        """
        img: Tensor = results['img']
        require_8_bits(img, 'PhotometricDistortion')
        if img.shape[0] != 3:
            raise ValueError(
                f'PhotometricDistortion takes RGB, not {counted(img.shape[0], "channel")}'
            )
        values = img.float()
        if _coin():
            values = (values + random.uniform(-self.brightness, self.brightness)).clamp(0, 255)
        contrast_first = _coin()
        if contrast_first:
            values = self._with_contrast(values)
        img = self._with_hsv(values.to(torch.uint8))
        if not contrast_first:
            img = self._with_contrast(img.float()).to(torch.uint8)
        results['img'] = img
        return results

    def _with_contrast(self, values: Tensor) -> Tensor:
        return (values * random.uniform(*self.contrast)).clamp(0, 255) if _coin() else values

    def _with_hsv(self, img: Tensor) -> Tensor:
        saturation = random.uniform(*self.saturation) if _coin() else 1.0
        turn = random.uniform(-self.hue, self.hue) / 360 if _coin() else 0.0
        if saturation == 1 and turn == 0:
            return img
        hue, strength, value = Image.fromarray(img.permute(1, 2, 0).numpy()).convert('HSV').split()
        hue = hue.point([round(h + 256 * turn) % 256 for h in range(256)])
        strength = strength.point([min(255, round(s * saturation)) for s in range(256)])
        changed = Image.merge('HSV', (hue, strength, value)).convert('RGB')
        return to_tensor(np.asarray(changed))


@TRANSFORMS.register_module()
class RandomGray(Transform):
    """With probability `prob` the weighed grey of the colours, in all channels."""

    keeps_size = True

    def __init__(self, prob: float = 0.2) -> None:
        self.prob = _check_prob('RandomGray', prob)

    def transform(self, results: Results) -> Results:
        """Change the image.

        Raises:
            ConfigError: it has 16 bits.
        """
        require_8_bits(results['img'], 'RandomGray')
        if random.random() < self.prob:
            results['img'] = F.rgb_to_grayscale_image(results['img'], num_output_channels=3)
        return results


@TRANSFORMS.register_module()
class RandomBlur(Transform):
    """With probability `prob` a Gaussian blur of a random width.

    Args:
        prob: probability.
        sigma: smallest and largest standard deviation in pixels.
    """

    keeps_size = True

    def __init__(self, prob: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        self.prob = _check_prob('RandomBlur', prob)
        if not 0 < sigma[0] <= sigma[1]:
            raise ConfigError(f'RandomBlur.sigma must be 0 < low <= high, got {sigma}')
        self.sigma = sigma

    def transform(self, results: Results) -> Results:
        """Change the image.

        Raises:
            ConfigError: it has 16 bits.
        """
        require_8_bits(results['img'], 'RandomBlur')
        if random.random() < self.prob:
            sigma = random.uniform(*self.sigma)
            side = 2 * max(1, round(4 * sigma)) + 1
            side = min(side, 2 * min(results['img'].shape[-2:]) - 1)  # the border is mirrored
            results['img'] = F.gaussian_blur_image(results['img'], [side, side], [sigma, sigma])
        return results


def _coin() -> bool:
    return random.random() < 0.5


def _check_prob(name: str, prob: float) -> float:
    if not 0 <= prob <= 1:
        raise ConfigError(f'{name}: prob must lie in [0, 1], got {prob}')
    return prob
