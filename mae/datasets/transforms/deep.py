"""Colours of 16 bits in files, which Pillow cuts to 8: OpenCV reads them.

Shapes: C channels, H W pixels.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from mae.datasets.transforms import png

_BITS_PER_SAMPLE, _PLANAR = 258, 284  # TIFF 6.0; planar 2 stores channel by channel
_DEPTH_OF_PNG = 24  # byte of the bit depth: signature, length, type, width, height (PNG 11.2.1)
# Of ITU-R 601 in 65,536ths, as Pillow has them for 8 bits.
_GREY = (19595, 38470, 7471)

# Of a damaged file it would write lines of its own beside our one.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def stored_bits(image: ImageFile, data: bytes) -> int:
    """Bits of a channel in the file of an opened image: 16, or 8 for all others."""
    if image.mode.startswith('I'):
        return 16
    if image.format == 'PNG':
        return 16 if data[_DEPTH_OF_PNG] == 16 else 8
    if isinstance(image, TiffImageFile):
        return 16 if 16 in image.tag_v2.get(_BITS_PER_SAMPLE, ()) else 8
    return 8


def has_deep_colours(image: ImageFile, data: bytes) -> bool:
    """Whether Pillow would cut the image's 16 bits to 8; of grey it keeps them."""
    return not image.mode.startswith('I') and stored_bits(image, data) == 16


def require_pixel_order(image: ImageFile) -> None:
    """Refuse 16 bits stored channel by channel, which Pillow and OpenCV take for other pixels.

    Raises:
        ValueError: a TIFF of that kind.
    """
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PLANAR) == 2:
        raise ValueError('a TIFF of 16 bits in planes: save it with the channels side by side')


def decode_deep_colours(data: bytes) -> NDArray[Any]:
    """uint16 (H, W, 3) in RGB of an image that `has_deep_colours`, or (H, W, 1); without alpha.

    Raises:
        ValueError: it is damaged, or of a kind that OpenCV does not read with 16 bits.
    """
    if data.startswith(png.SIGNATURE):
        data = png.without_metadata(data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError(
            'its 16 bits cannot be read: damaged, or of a kind to save as PNG or array (.npy)'
        )
    to_rgb = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    pixels = np.atleast_3d(pixels)
    code = to_rgb.get(pixels.shape[2])
    return pixels[..., :1] if code is None else cv2.cvtColor(pixels, code)


def grey_of(img: Tensor) -> Tensor:
    """uint16 (1, H, W) of uint16 (3, H, W), rounded as Pillow rounds 8 bits."""
    red, green, blue = (
        weight * part for weight, part in zip(_GREY, img.numpy().astype(np.uint32), strict=True)
    )
    return torch.from_numpy(((red + green + blue + 0x8000) >> 16).astype(np.uint16))[None]
