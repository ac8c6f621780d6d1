"""Files to pixels: uint8 (C, H, W), upright, in the asked number of channels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from torch import Tensor

from mae.datasets.transforms.base import Results, Transform, to_tensor
from mae.datasets.transforms.image_file import FORMATS, open_image, read_file
from mae.datasets.transforms.jpeg import Frame, decode_jpeg, plain_frame
from mae.registry import TRANSFORMS
from mae.utils.errors import ConfigError, DataError

_PIL_MODE = {1: 'L', 3: 'RGB'}
EXIF_ORIENTATION = 0x0112


@TRANSFORMS.register_module()
class DecodeImage(Transform):
    """Reads `img_path` into `img`; an `img` that is there already only gets its channels.

    Of a source that gives the file's content as `img_bytes`, `img_path` is only the name. Images
    are turned upright by the EXIF orientation, CMYK converted, alpha dropped, 16 bits cut to the
    upper 8, the first picture of several. Color profiles play no part.

    Args:
        channels: 3 (RGB) or 1 (grey).
        backend: 'turbo' has JPEGs decoded by libjpeg-turbo and leaves the rest to 'pillow'; both
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
        backend: str = 'turbo',
        *,
        max_pixels: int = 2**27,
        max_bytes: int = 2**28,
        formats: Sequence[str] = FORMATS,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if channels not in _PIL_MODE:
            raise ConfigError(f'DecodeImage: channels must be 1 or 3, got {channels}')
        if backend not in ('turbo', 'pillow'):
            raise ConfigError(f"DecodeImage: backend must be 'turbo' or 'pillow', got {backend!r}")
        if isinstance(formats, str) or not formats or set(formats) - set(FORMATS):
            raise ConfigError(
                f'DecodeImage: formats must be a list of {", ".join(FORMATS)}, got {formats!r}'
            )
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
        with decoding(results['img_path']):
            results['img'] = self.decode(self.read(results))
        return results

    def read(self, results: Results) -> bytes:
        """The content of the file; `img_bytes` of sources that hold files within files."""
        data: bytes | None = results.pop('img_bytes', None)
        if data is None:
            data = read_file(results['img_path'], self.max_bytes, self.backend_args)
        return data

    def decode(self, data: bytes) -> Tensor:
        """uint8 (C, H, W) of an encoded image."""
        if self.plain_frame(data):  # Pillow would take a tenth of the decoder's time for the header
            return decode_jpeg(data)
        with open_image(data, self.formats, self.max_pixels) as image:
            orientation = _orientation(image)
            return _upright(self._pixels(data, image), orientation)

    def plain_frame(self, data: bytes) -> Frame | None:
        """The header of a JPEG that can be decoded as it is; None for everything else."""
        fast = self.backend == 'turbo' and self.channels == 3 and 'JPEG' in self.formats
        return plain_frame(data, self.max_pixels) if fast else None

    def _pixels(self, data: bytes, image: ImageFile.ImageFile) -> Tensor:
        if self.backend == 'turbo' and self._turbo_reads(image):
            with suppress(ValueError):  # some rare samplings: Pillow reads them, or says why not
                return decode_jpeg(data, self.channels)
        return _decode_pillow(image, _PIL_MODE[self.channels])

    def _turbo_reads(self, image: ImageFile.ImageFile) -> bool:
        """Whether it gives what Pillow would: its grey of colours, and its CMYK, are others."""
        modes = {1: ('L',), 3: ('L', 'RGB')}[self.channels]
        return image.format == 'JPEG' and image.mode in modes


@contextmanager
def decoding(path: str) -> Iterator[None]:
    """What goes wrong within is told as a DataError with the path of the image."""
    try:
        yield
    except Exception as error:  # the decoders raise whatever a broken file leads them to
        raise DataError(f'{path}: cannot be decoded as an image: {_reason(error)}') from error


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
    return (str(error) or type(error).__name__).splitlines()[0]


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
