"""What one image is, as far as a recipe depends on it.

Shapes: C channels, H W pixels.
"""

from dataclasses import dataclass

import torch
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from mae.datasets.transforms import DecodeImage
from mae.datasets.transforms.deep import stored_bits
from mae.datasets.transforms.image_file import NPY, open_image, read_image_bytes, read_npy
from mae.utils.text import first_line

_GREY_MODES = ('1', 'L', 'LA', 'La')
_SAMPLES_PER_PIXEL = 277  # TIFF 6.0
_MOST_PIXELS = 1 << 16  # of an image that go into means and deviations
_PER_LEVEL = 257  # of 65,535 values, for a grey level of 0..255


@dataclass(frozen=True)
class Look:
    """What one image is.

    Attributes:
        channels: as the file has them: 1, 3, or those of an array; alpha is none.
        size: (H, W), upright.
        has_alpha: whether there is transparency, which is dropped.
        bits: 8 or 16.
        levels: largest of the pixels, 0..255; of 16 bits of the upper 8.
        sums: per channel the mean and the mean square of the pixels in grey levels, 0..255; those
            of 16 bits are fractions.
    """

    channels: int
    size: tuple[int, int]
    has_alpha: bool
    bits: int
    levels: int
    sums: tuple[tuple[float, float], ...]


def look_at(path: str) -> Look | str:
    """What an image is, or the reason why it cannot be read."""
    decode = DecodeImage()
    try:
        data = read_image_bytes(path, decode.max_bytes)
        if data.startswith(NPY):
            return _look_at_array(data, decode.max_pixels)
        with open_image(data, decode.formats, decode.max_pixels) as image:
            mode, info, bits = image.mode, image.info, stored_bits(image, data)
            _require_few_channels(image)
        channels = 1 if mode in _GREY_MODES or mode.startswith('I') else 3
        pixels = DecodeImage(channels, bits=bits).decode(data)
        has_alpha = mode in ('LA', 'La', 'RGBA', 'RGBa', 'PA') or 'transparency' in info
        return _measure(pixels, has_alpha, bits)
    except Exception as error:  # the decoders raise whatever a broken file leads them to
        return _reason(error)


def _look_at_array(data: bytes, max_pixels: int) -> Look:
    array = read_npy(data, max_pixels)
    channels = array.shape[2] if array.ndim == 3 else 1
    bits = 16 if array.dtype.itemsize == 2 else 8
    pixels = DecodeImage(channels, bits=bits).decode(data)
    return _measure(pixels, has_alpha=False, bits=bits)


def _measure(pixels: Tensor, has_alpha: bool, bits: int) -> Look:
    C, H, W = pixels.shape
    levels = some_levels(pixels)
    highest = float(levels.max())
    upper = round(highest * _PER_LEVEL) >> 8 if bits == 16 else int(highest)
    sums = torch.stack([levels.mean(1), levels.square().mean(1)], 1).tolist()
    return Look(C, (H, W), has_alpha, bits, upper, tuple((m, s) for m, s in sums))


def some_levels(pixels: Tensor) -> Tensor:
    """Grey levels of some pixels, spread over an image: float64 (C, N), 0..255.

    Args:
        pixels: (C, H, W), uint8, or uint16, which give fractions.
    """
    H, W = pixels.shape[1:]
    step = max(1, int((H * W / _MOST_PIXELS) ** 0.5))
    some = pixels[:, ::step, ::step].double().flatten(1)
    return some / _PER_LEVEL if pixels.dtype == torch.uint16 else some


def _require_few_channels(image: ImageFile) -> None:
    """Raises ValueError for a TIFF of which Pillow would read the first three channels alone."""
    if isinstance(image, TiffImageFile):
        samples = image.tag_v2.get(_SAMPLES_PER_PIXEL, 1)
        if samples > 4:
            raise ValueError(f'it has {samples} channels')


def _reason(error: Exception) -> str:
    text = first_line(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    is_deep = isinstance(error, SyntaxError) or text.endswith(' channels')  # Pillow: unknown mode
    return f'{text}; more than three channels are read from arrays (.npy)' if is_deep else text
