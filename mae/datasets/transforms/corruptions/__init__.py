"""The corruptions of ImageNet-C by name (Hendrycks and Dietterich 2019, section 3).

All 15 but frost, which pastes photographs of ice. The constants are those of the authors' script
for images of 224 px. What is a length in pixels is multiplied by `scale`, the share of the image's
shorter side in 224, so that small images are changed in the same proportion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mae.datasets.transforms.corruptions import blur, digital, noise, weather
from mae.datasets.transforms.corruptions.filters import FloatImage


@dataclass(frozen=True)
class Corruption:
    """One kind.

    Attributes:
        function: of (pixels float32 (H, W, C) in 0..1, constants, scale); may leave 0..1.
        constants: of severities 1 to 5.
        is_random: whether it draws from numpy's generator.
    """

    function: Callable[[FloatImage, Any, float], FloatImage]
    constants: tuple[Any, ...]
    is_random: bool = True


# In the order of the paper's tables.
CORRUPTIONS = {
    'gaussian_noise': Corruption(noise.gaussian_noise, noise.GAUSSIAN_NOISE),
    'shot_noise': Corruption(noise.shot_noise, noise.SHOT_NOISE),
    'impulse_noise': Corruption(noise.impulse_noise, noise.IMPULSE_NOISE),
    'defocus_blur': Corruption(blur.defocus_blur, blur.DEFOCUS_BLUR, is_random=False),
    'glass_blur': Corruption(blur.glass_blur, blur.GLASS_BLUR),
    'motion_blur': Corruption(blur.motion_blur, blur.MOTION_BLUR),
    'zoom_blur': Corruption(blur.zoom_blur, blur.ZOOM_BLUR, is_random=False),
    'snow': Corruption(weather.snow, weather.SNOW),
    'fog': Corruption(weather.fog, weather.FOG),
    'brightness': Corruption(weather.brightness, weather.BRIGHTNESS, is_random=False),
    'contrast': Corruption(digital.contrast, digital.CONTRAST, is_random=False),
    'elastic_transform': Corruption(digital.elastic_transform, digital.ELASTIC_TRANSFORM),
    'pixelate': Corruption(digital.pixelate, digital.PIXELATE, is_random=False),
    'jpeg_compression': Corruption(digital.jpeg_compression, digital.JPEG, is_random=False),
}
SEVERITIES = (1, 2, 3, 4, 5)
