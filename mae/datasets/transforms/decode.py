"""Files to pixels: (C, H, W), upright, with the configured number of channels and bits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from mae.datasets.transforms import png
from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.deep import (
    decode_deep_colours,
    grey_of,
    has_deep_colours,
    require_pixel_order,
)
from mae.datasets.transforms.image_file import FORMATS, NPY, open_image, read_image_bytes, read_npy
from mae.datasets.transforms.jpeg import Frame, decode_jpeg, plain_frame
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError
from mae.utils.text import first_line

_PIL_MODE = {1: 'L', 3: 'RGB'}
_DEEP_FORMATS = ('PNG', 'PPM')  # whose 16 bits Pillow may give as 32
EXIF_ORIENTATION = 0x0112


@TRANSFORMS.register_module()
class DecodeImage(Transform):
    """Reads `img_path` into `img`, or converts an `img` in memory, a Pillow image too.

    If the source gives the file's content as `img_bytes`, `img_path` is only a name for messages.
    Images are turned upright by the EXIF orientation, CMYK is converted, alpha dropped and
    of several pictures the first is kept. Color profiles are ignored.

    Args:
        channels: the model's `in_channels`: 3 (RGB), 1 (grey: a weighted sum of the colours), or
            for arrays and tensors any number that they have.
        bits: 8 gives uint8, of 16 bits the upper 8; 16 gives uint16 of PNG, TIFF, grey PPM and
            arrays, where white of 8 bits becomes 65,535.
        backend: 'turbo' decodes JPEGs with libjpeg-turbo and everything else as 'pillow' does;
            both give the same RGB pixels.
        max_pixels: height x width above which a file is refused before it is decoded.
        max_bytes: size above which a file is refused before it is read.
        formats: those allowed, detected by the first bytes, not by the name: of JPEG, PNG, WEBP,
            BMP, GIF, TIFF, PPM (binary) and NPY (an array of numpy), all by default.
        backend_args: keywords for the file backend of `mmengine.fileio`; None for local files.
    """

    is_random = False

    def __init__(
        self,
        channels: int = 3,
        backend: str = 'turbo',
        *,
        bits: int = 8,
        max_pixels: int = 2**27,
        max_bytes: int = 2**28,
        formats: Sequence[str] = FORMATS,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if channels < 1:
            raise ConfigError(f'DecodeImage: channels must be positive, got {channels}')
        if bits not in (8, 16):
            raise ConfigError(f'DecodeImage: bits must be 8 or 16, got {bits!r}')
        if backend not in ('turbo', 'pillow'):
            raise ConfigError(f"DecodeImage: backend must be 'turbo' or 'pillow', got {backend!r}")
        if isinstance(formats, str) or not formats or set(formats) - set(FORMATS):
            raise ConfigError(
                f'DecodeImage: formats must be a list of {", ".join(FORMATS)}, got {formats!r}'
            )
        self.channels = channels
        self.bits = bits
        self.backend = backend
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self.formats = tuple(formats)
        self.backend_args = backend_args

    def transform(self, results: Results) -> Results:
        """Adds `img`.

        Raises:
            DataError: the file is missing, too large, damaged or not an image; names the path.
        """
        if 'img' in results:
            results['img'] = self.convert(results['img'])
            return results
        if 'img_path' not in results:
            raise ValueError('the source gives neither `img` nor `img_path`')
        with decoding(results['img_path']):
            results['img'] = self.decode(self.read(results))
        return results

    def convert(self, img: Any) -> Tensor:
        """(C, H, W) of pixels in memory; of a Pillow image the same as of its file.

        Pillow has colours with 8 bits alone.

        Raises:
            ValueError: of another type or shape, without pixels, or of other channels.
        """
        if isinstance(img, Image.Image):
            with decoding(getattr(img, 'filename', '') or 'a Pillow image'):
                return self._decode_pillow(img)
        return to_channels(to_tensor(img, self.bits), self.channels)

    def read(self, results: Results) -> bytes:
        """The content of the file; `img_bytes` of sources that pack many files into one."""
        data: bytes | None = results.pop('img_bytes', None)
        if data is None:
            data = read_image_bytes(results['img_path'], self.max_bytes, self.backend_args)
        return data

    def decode(self, data: bytes) -> Tensor:
        """(C, H, W) of an encoded image."""
        if self.plain_frame(data):  # saves reading the header with Pillow, a tenth of the time
            return decode_jpeg(data)
        if (pixels := self.array(data)) is not None:
            return self.convert(pixels)
        with open_image(data, self.formats, self.max_pixels) as image:
            if self.backend == 'turbo' and self._turbo_reads(image):
                with suppress(ValueError):  # some rare samplings: Pillow reads them, or raises
                    img = to_tensor(decode_jpeg(data, self.channels), self.bits)
                    return _upright(img, orientation_of(image))
            if has_deep_colours(image, data):
                require_pixel_order(image)
                if self.bits == 16:
                    img = to_channels(to_tensor(decode_deep_colours(data), 16), self.channels)
                    is_plain = image.format == 'PNG' and not png.may_be_turned(data)
                    return _upright(img, 1 if is_plain else orientation_of(image))
            return self._decode_pillow(image)

    def plain_frame(self, data: bytes) -> Frame | None:
        """The header of a JPEG that can be decoded as it is; None for everything else."""
        fast = self.backend == 'turbo' and self.channels == 3 and self.bits == 8
        return plain_frame(data, self.max_pixels) if fast and 'JPEG' in self.formats else None

    def array(self, data: bytes) -> NDArray[Any] | None:
        """The pixels of a `.npy` file, (H, W) or (H, W, C), not copied; None for everything else.

        Raises:
            ValueError: larger than `max_pixels`, cut off or damaged, or no array of pixels.
        """
        is_one = data.startswith(NPY) and 'NPY' in self.formats
        return read_npy(data, self.max_pixels) if is_one else None

    def _turbo_reads(self, image: ImageFile.ImageFile) -> bool:
        """Whether the pixels are Pillow's: grey of colour images, and CMYK, would differ."""
        modes = {1: ('L',), 3: ('L', 'RGB')}.get(self.channels, ())
        return image.format == 'JPEG' and image.mode in modes

    def _decode_pillow(self, image: Image.Image) -> Tensor:
        """(C, H, W), upright: one rule for files and for images that a user has opened."""
        if self.channels not in _PIL_MODE:
            raise ValueError(
                f'image files are read as 1 or 3 channels, and DecodeImage has channels='
                f'{self.channels}: give arrays, or .npy files'
            )
        orientation = orientation_of(image)
        image.load()
        if image.mode == 'F' or (image.mode == 'I' and image.format not in _DEEP_FORMATS):
            raise ValueError('32-bit pixels have no agreed white: save it with 8 or 16 bits')
        if image.mode.startswith('I'):  # 16-bit grey, which Pillow would clip instead of scaling
            pixels = np.asarray(image).astype(np.uint16)
        else:
            pixels = np.asarray(image.convert(_PIL_MODE[self.channels]))
        return _upright(to_channels(to_tensor(pixels, self.bits), self.channels), orientation)


@contextmanager
def decoding(path: str) -> Iterator[None]:
    """Turns exceptions of the body into a DataError with the path of the image."""
    try:
        yield
    except Exception as error:  # the decoders raise whatever a broken file leads them to
        raise DataError(f'{path}: cannot be decoded as an image: {_reason(error)}') from error


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) if there is none or it cannot be read."""
    if image.format == 'TIFF':  # Pillow turns these as it loads them
        return 1
    if image.format == 'PNG':  # may have it behind the pixels
        image.load()
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data of an image that is whole
        return 1
    return value if value in range(1, 9) else 1


def _upright(img: Tensor, orientation: int) -> Tensor:
    """The image turned and mirrored by its EXIF orientation (Exif 2.3, tag 0x0112)."""
    if orientation == 1:
        return img
    if orientation >= 5:
        img = img.transpose(-2, -1)
    axes = {2: [-1], 3: [-2, -1], 4: [-2], 6: [-1], 7: [-2, -1], 8: [-2]}.get(orientation, [])
    return img.flip(axes) if axes else img.contiguous()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)


def to_channels(img: Tensor, channels: int) -> Tensor:
    """Grey repeated to three channels, or colours summed to grey by the weights of ITU-R 601.

    Args:
        img: uint8 or uint16 (C, H, W).
        channels: number of channels of the result; other than 1 and 3 only if the image has it.

    Raises:
        ValueError: `img` has other channels; names both numbers.
    """
    if img.shape[0] == channels:
        return img
    if img.shape[0] == 1 and channels == 3:
        return img.expand(channels, -1, -1)
    if img.shape[0] == 3 and channels == 1:
        if img.dtype != torch.uint8:
            return grey_of(img)
        grey = Image.fromarray(img.permute(1, 2, 0).numpy()).convert('L')
        return to_tensor(np.asarray(grey))
    wanted = '1 or 3' if channels in (1, 3) else str(channels)
    raise ValueError(
        f'img must have {wanted} channels, got {img.shape[0]} of {tuple(img.shape)} (C, H, W), '
        f'for channels={channels}: arrays are (H, W, C), tensors (C, H, W), and of RGBA give the '
        'first three'
    )
