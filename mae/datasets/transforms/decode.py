"""Files to pixels: uint8 (C, H, W), upright, in the asked number of channels."""

import io
import warnings
from typing import Any

import numpy as np
import torch
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.jpeg import jpeg_shape
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError

try:
    from torchvision.io import decode_image
except ImportError:  # deprecated since torchvision 0.29, to be removed
    decode_image = None

_PIL_MODE = {1: 'L', 3: 'RGB'}
_EXIF_ORIENTATION = 0x0112


@TRANSFORMS.register_module()
class DecodeImage(Transform):
    """Reads `img_path` into `img`; an `img` that is there already only gets its channels.

    Of a source that gives the file's content as `img_bytes`, `img_path` is only the name.

    JPEG, PNG (palette, alpha, 16-bit, grey), WEBP, BMP and whatever else Pillow reads. EXIF
    rotation is applied, CMYK converted, alpha dropped, 16 bits cut to the upper 8.

    Args:
        channels: 3 (RGB) or 1 (grey).
        backend: 'torchvision' decodes the common files faster and leaves the rest to 'pillow';
            both give the same RGB pixels.
        max_pixels: height x width above which a file is refused before it is decoded.
        backend_args: of `mmengine.fileio`, for files that are not on a disk.
    """

    is_random = False

    def __init__(
        self,
        channels: int = 3,
        backend: str = 'torchvision',
        *,
        max_pixels: int = 2**27,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if channels not in _PIL_MODE:
            raise ConfigError(f'DecodeImage: channels must be 1 or 3, got {channels}')
        if backend not in ('torchvision', 'pillow'):
            raise ConfigError(
                f"DecodeImage: backend must be 'torchvision' or 'pillow', got {backend!r}"
            )
        if backend == 'torchvision' and decode_image is None:
            warnings.warn('this torchvision decodes no images: Pillow does', stacklevel=2)
            backend = 'pillow'
        self.channels = channels
        self.backend = backend
        self.max_pixels = max_pixels
        self.backend_args = backend_args

    def transform(self, results: Results) -> Results:
        """Adds `img`.

        Raises:
            DataError: the file is missing, too large or not an image; names the path.
        """
        if 'img' in results:
            results['img'] = to_channels(to_tensor(results['img']), self.channels)
            return results
        path = results['img_path']
        try:
            data = results.pop('img_bytes', None)  # of sources that hold files within files
            data = fileio.get(path, self.backend_args) if data is None else data
            results['img'] = self.decode(data)
        except UnidentifiedImageError as error:
            raise DataError(f'{path}: cannot be decoded as an image: unknown format') from error
        except Exception as error:  # the decoders raise whatever a broken file leads them to
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f'{path}: cannot be decoded as an image: {reason}') from error
        return results

    def decode(self, data: bytes) -> Tensor:
        """uint8 (C, H, W) of an encoded image."""
        shape = jpeg_shape(data) if self.backend == 'torchvision' else None
        # Most files are such; what Pillow would say of their header takes it 5 % of the decoding.
        if shape and shape[0] in (1, self.channels) and 0 < shape[1] * shape[2] <= self.max_pixels:
            return _decode_torchvision(data, 'RGB' if self.channels == 3 else 'GRAY')
        with Image.open(io.BytesIO(data)) as image:  # reads the header only
            width, height = image.size
            if width * height > self.max_pixels:
                raise ValueError(f'{width}x{height} is over max_pixels={self.max_pixels}')
            if self.backend == 'torchvision' and self._torchvision_reads(image):
                return _decode_torchvision(data, 'RGB' if self.channels == 3 else 'GRAY')
            return _decode_pillow(image, _PIL_MODE[self.channels])

    def _torchvision_reads(self, image: Image.Image) -> bool:
        """Whether torchvision gives what Pillow would: its grey and its WEBP do not always."""
        if image.mode != 'L' and (self.channels == 1 or image.mode == 'CMYK'):
            return False
        if image.format == 'WEBP':
            return self.channels == 3 and image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        return image.format in ('JPEG', 'MPO', 'PNG')


def _decode_torchvision(data: bytes, mode: str) -> Tensor:
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    img: Tensor = decode_image(encoded, mode, apply_exif_orientation=True)
    return img if img.dtype == torch.uint8 else (img.to(torch.int32) >> 8).to(torch.uint8)


def _decode_pillow(image: Image.Image, mode: str) -> Tensor:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I'):  # 16-bit grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return to_tensor(np.asarray(image.convert(mode)))


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
