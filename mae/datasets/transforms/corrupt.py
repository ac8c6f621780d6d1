"""Image corruptions, in the kinds and severities of ImageNet-C."""

import numpy as np
import torch

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.corruptions import CORRUPTIONS, SEVERITIES
from mae.datasets.transforms.geometry import refuse_annotated
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean


@TRANSFORMS.register_module()
class Corrupt(Transform):
    """A corruption of Hendrycks and Dietterich 2019, section 3: 14 of the 15 kinds, without frost.

    `kind` and `severity` apply to all images; without them each sample has its own, the
    `corruption` that the source `Corrupted` gives. It comes after the transforms that crop and
    resize.

    The constants are those of the authors' script, for 224 px. A constant that is a length in
    pixels (of defocus, glass and motion blur, snow, elastic transform, and what a block of pixelate
    is larger than a pixel) is multiplied by shorter side / `base_size`, so the mildest
    blurs do not change small images. Noise, zoom blur, fog, brightness, contrast and JPEG have no
    such constant. Random numbers follow from the sample's key.

    ImageNet-C is a set of published files: results on images corrupted here compare with each
    other, not with published ones.

    Args:
        kind: name in ImageNet-C, such as 'gaussian_noise'.
        severity: 1 (least) to 5.
        base_size: shorter side in pixels for which the constants are unscaled.

    Raises:
        ConfigError: another kind or severity, or one of the two alone.
    """

    def __init__(
        self, kind: str | None = None, severity: int | None = None, *, base_size: int = 224
    ) -> None:
        if (kind is None) != (severity is None):
            raise ConfigError('Corrupt: give kind and severity, or neither, not one alone')
        if base_size < 1:
            raise ConfigError(f'Corrupt: base_size must be at least 1, got {base_size}')
        self.fixed = None
        if kind is not None and severity is not None:
            require_corruption('Corrupt', kind, severity)
            self.fixed = kind, severity
        self.base_size = base_size
        self.is_random = kind is None or CORRUPTIONS[kind].is_random

    def transform(self, results: Results) -> Results:
        """Replaces `img`, uint8 (C, H, W) of 1 or 3 channels.

        Raises:
            ValueError: other channels, neither settings nor a `corruption` of the source, or an
                elastic transform of an image with a label map or objects.
        """
        if self.fixed is None and 'corruption' not in results:
            raise ValueError(
                'the source gives no `corruption`: wrap it in Corrupted, or give kind and severity'
            )
        kind, severity = self.fixed or results['corruption']
        if kind == 'elastic_transform':
            refuse_annotated(results, 'elastic_transform')
        img = to_tensor(results['img'])
        channels, height, width = img.shape
        if channels not in (1, 3):
            raise ValueError(f'img must have 1 or 3 channels, got {channels}')
        corruption = CORRUPTIONS[kind]
        pixels = img.permute(1, 2, 0).numpy().astype(np.float32) / np.float32(255)
        scale = min(height, width) / self.base_size
        corrupted = corruption.function(pixels, corruption.constants[severity - 1], scale)
        levels = (corrupted * 255).round().clip(0, 255).astype(np.uint8)
        results['img'] = torch.from_numpy(np.ascontiguousarray(levels)).permute(2, 0, 1)
        return results


def require_corruption(owner: str, kind: str, severity: int) -> None:
    """Raises ConfigError, which begins with `owner`, for an unknown kind or severity."""
    if kind not in CORRUPTIONS:
        meant = '; frost needs photographs of ice, and is not here' if kind == 'frost' else ''
        raise ConfigError(
            f'{owner}: unknown corruption {kind!r}{meant or did_you_mean(kind, CORRUPTIONS)}'
        )
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise ConfigError(
            f'{owner}: severity must be 1, 2, 3, 4 or 5, got {severity!r}; clean images need no '
            'Corrupt'
        )
