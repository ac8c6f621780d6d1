"""Files to pixels: uint8 (C, H, W), upright, in the asked number of channels."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.image_file import FORMATS, open_image, read_file
from mae.datasets.transforms.jpeg import is_plain_jpeg
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError

try:
    from torchvision.io import decode_image
except ImportError:  # deprecated since torchvision 0.29, to be removed
    decode_image = None

_PIL_MODE = {1: 'L', 3: 'RGB'}
EXIF_ORIENTATION = 0x0112
_SOURCE_LINE = re.compile(r'^\w+, \S+:\d+, ')  # where in torchvision an error was raised


@TRANSFORMS.register_module()
class DecodeImage(Transform):
    """Reads `img_path` into `img`; an `img` that is there already only gets its channels.

    Of a source that gives the file's content as `img_bytes`, `img_path` is only the name. Images
    are turned upright by the EXIF orientation, CMYK converted, alpha dropped, 16 bits cut to the
    upper 8, the first picture of several. Color profiles play no part.

    Args:
        channels: 3 (RGB) or 1 (grey).
        backend: 'torchvision' decodes JPEG and WEBP faster and leaves the rest to 'pillow'; both
            give the same RGB pixels.
        max_pixels: height x width above which a file is refused before it is decoded.
        max_bytes: size above which a file is refused before it is read.
        formats: those allowed, told by the first bytes and not by the name: of JPEG, PNG, WEBP,
            BMP, GIF, TIFF and PPM (binary), all by default.
        backend_args: of `mmengine.fileio`, for files that are not on a disk.
    """

    is_random = False

    def __init__(
        self,
        channels: int = 3,
        backend: str = 'torchvision',
        *,
        max_pixels: int = 2**27,
        max_bytes: int = 2**28,
        formats: Sequence[str] = FORMATS,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if channels not in _PIL_MODE:
            raise ConfigError(f'DecodeImage: channels must be 1 or 3, got {channels}')
        if backend not in ('torchvision', 'pillow'):
            raise ConfigError(
                f"DecodeImage: backend must be 'torchvision' or 'pillow', got {backend!r}"
            )
        if isinstance(formats, str) or not formats or set(formats) - set(FORMATS):
            raise ConfigError(
                f'DecodeImage: formats must be a list of {", ".join(FORMATS)}, got {formats!r}'
            )
        if backend == 'torchvision' and decode_image is None:
            warnings.warn('this torchvision decodes no images: Pillow does', stacklevel=2)
            backend = 'pillow'
        self.channels = channels
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
            results['img'] = to_channels(to_tensor(results['img']), self.channels)
            return results
        path = results['img_path']
        try:
            results['img'] = self.decode(self.read(results))
        except Exception as error:  # the decoders raise whatever a broken file leads them to
            raise DataError(f'{path}: cannot be decoded as an image: {_reason(error)}') from error
        return results

    def read(self, results: Results) -> bytes:
        """The content of the file; `img_bytes` of sources that hold files within files."""
        data: bytes | None = results.pop('img_bytes', None)
        if data is None:
            data = read_file(results['img_path'], self.max_bytes, self.backend_args)
        return data

    def decode(self, data: bytes) -> Tensor:
        """uint8 (C, H, W) of an encoded image."""
        if self._is_plain(data):  # Pillow would take a tenth of the decoder's time for the header
            return _decode_torchvision(data, 'RGB')
        with open_image(data, self.formats, self.max_pixels) as image:
            orientation = _orientation(image)
            if self.backend == 'torchvision' and self._torchvision_reads(image):
                img = _decode_torchvision(data, 'RGB' if self.channels == 3 else 'GRAY')
            else:
                img = _decode_pillow(image, _PIL_MODE[self.channels])
        return _upright(img, orientation)

    def _is_plain(self, data: bytes) -> bool:
        fast = self.backend == 'torchvision' and self.channels == 3 and 'JPEG' in self.formats
        return fast and is_plain_jpeg(data, self.max_pixels)

    def _torchvision_reads(self, image: ImageFile.ImageFile) -> bool:
        """Whether torchvision gives what Pillow would: its grey and its WEBP do not always.

        Its PNG would, but a damaged one ends the process: libpng's error jumps into a function
        that has returned (torchvision 0.29).
        """
        if image.mode != 'L' and (self.channels == 1 or image.mode == 'CMYK'):
            return False
        if image.format == 'WEBP':
            return self.channels == 3 and not getattr(image, 'is_animated', False)
        return image.format == 'JPEG'


def _decode_torchvision(data: bytes, mode: str) -> Tensor:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    img: Tensor = decode_image(encoded, mode)
    return img


def _decode_pillow(image: Image.Image, mode: str) -> Tensor:
    image.load()
    if image.mode == 'F' or (image.mode == 'I' and image.format == 'TIFF'):
        raise ValueError('32-bit pixels have no agreed white: save it with 8 or 16 bits')
    if image.mode.startswith('I'):  # 16-bit grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return to_tensor(np.asarray(image.convert(mode)))


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF's, 1 to 8; 1 (upright) where there is none, or none that can be read."""
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
    """The image as EXIF says it is to be seen (Exif 2.3, tag 0x0112)."""
    if orientation == 1:
        return img
    if orientation >= 5:
        img = img.transpose(-2, -1)
    axes = {2: [-1], 3: [-2, -1], 4: [-2], 6: [-1], 7: [-2, -1], 8: [-2]}.get(orientation, [])
    return img.flip(axes) if axes else img.contiguous()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _SOURCE_LINE.sub('', (str(error) or type(error).__name__).splitlines()[0])


def to_channels(img: Tensor, channels: int) -> Tensor:
    """Grey repeated to three channels, or colours weighed to grey (ITU-R 601).

    Raises:
        ValueError: `img` (C, H, W) has neither one nor three channels.
    """
    if img.shape[0] == channels:
        return img
    if img.shape[0] == 1:
        return img.expand(channels, -1, -1)
    if img.shape[0] == 3:
        grey = Image.fromarray(img.permute(1, 2, 0).numpy()).convert('L')
        return to_tensor(np.asarray(grey))
    raise ValueError(f'img must have 1 or 3 channels, got {img.shape[0]}')
