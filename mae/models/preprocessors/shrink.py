"""Whole batches made smaller on the device, for a warm-up at low resolution.

Shapes: B images, C channels, H W pixels.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Shrink:
    """Bicubic with antialiasing, as the loader's crops; not rounded to whole grey levels.

    Args:
        loaded: (height, width) of the inputs in pixels.
        used: (height, width) of the outputs in pixels.
    """

    loaded: tuple[int, int]
    used: tuple[int, int]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, C, *loaded) to float32 (B, C, *used), within 0..255.

        Raises:
            ValueError: images of another size: at full resolution they would not fit either.
        """
        H, W = images.shape[-2:]
        if self.loaded != (H, W):
            raise ValueError(
                f'the images are {H}x{W}, but encoder.img_size is '
                f'{self.loaded[0]}x{self.loaded[1]}: make them and encoder.img_size equal; the '
                f'{self.used[0]}x{self.used[1]} of the low resolution are made of them'
            )
        small = F.interpolate(images.float(), self.used, mode='bicubic', antialias=True)
        return small.clamp(0, 255)
