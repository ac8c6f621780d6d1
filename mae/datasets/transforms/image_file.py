"""From a path to an image whose header is read and whose size is allowed; nothing is decoded yet.

These checks keep a hostile or damaged file from costing more than its rejection: only regular files
are opened, the format follows from the first bytes and never from the name, and a truncated file is
noticed before a decoder fills it up with grey.
"""

import errno
import io
import math
import os
import stat
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mae.datasets.transforms import png

# Pillow's `Image.open` would try fifty plugins, one of which starts Ghostscript, and warn or
# refuse by a limit of its own.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    'JPEG': JpegImageFile,
    'PNG': PngImageFile,
    'WEBP': WebPImageFile,
    'BMP': BmpImageFile,
    'GIF': GifImageFile,
    'TIFF': TiffImageFile,
    'PPM': PpmImageFile,
}
FORMATS = (*_OPENERS, 'NPY')
NPY = b'\x93NUMPY'
_SIGNATURES = {
    b'\xff\xd8\xff': 'JPEG',
    png.SIGNATURE: 'PNG',
    b'BM': 'BMP',
    b'GIF87a': 'GIF',
    b'GIF89a': 'GIF',
    b'II*\0': 'TIFF',
    b'MM\0*': 'TIFF',
    b'II+\0': 'TIFF',  # BigTIFF
    b'MM\0+': 'TIFF',
    # Binary ones alone: Pillow reads the textual kinds in Python, byte by byte.
    b'P4': 'PPM',
    b'P5': 'PPM',
    b'P6': 'PPM',
    NPY: 'NPY',
}
_MAX_SCANS = 100  # of a progressive JPEG: ten are usual; a scan of ten bytes can visit all pixels
_TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ECONNRESET}
_PAUSES = (0.1, 1.0)  # seconds before trying again


def read_image_bytes(
    path: str, max_bytes: int, backend_args: dict[str, Any] | None = None
) -> bytes:
    """The bytes of a regular file; transient errors of a network disk are retried.

    Args:
        path: a local path, or any address that `mmengine.fileio` reads.
        max_bytes: larger files are refused, local ones before they are read.
        backend_args: keywords for the file backend of `mmengine.fileio`; None for local files.

    Raises:
        OSError: it cannot be read.
        ValueError: a folder, pipe, device or socket, or too large.
    """
    if backend_args is not None or '://' in path:
        data: bytes = fileio.get(path, backend_args)
        _require_bytes(len(data), max_bytes)
        return data
    for pause in _PAUSES:
        try:
            return _read_regular(path, max_bytes)
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise
            time.sleep(pause)
    return _read_regular(path, max_bytes)


def _read_regular(path: str, max_bytes: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe waits for someone to write into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, 'rb', buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError('not a regular file')
        _require_bytes(status.st_size, max_bytes)
        return file.read()


def _require_bytes(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f'{size} bytes are over max_bytes={max_bytes}')


def open_image(data: bytes, formats: Sequence[str], max_pixels: int) -> ImageFile.ImageFile:
    """The image of an encoded file with its header read: `format`, `mode` and `size`.

    Raises:
        ValueError: empty, of another format, larger than `max_pixels`, cut off, or damaged.
        Exception: whatever Pillow raises for a broken header.
    """
    kind = sniff(data)
    if kind not in formats:
        raise ValueError(f'{kind} is not among formats={list(formats)}')
    if kind == 'WEBP':  # Pillow allocates the pixels as it opens one
        _require_pixels(*_webp_size(data), max_pixels)
    if kind == 'PNG':
        data = png.without_metadata(data)
    image = _OPENERS[kind](io.BytesIO(data))
    _require_pixels(*image.size, max_pixels)
    if kind == 'JPEG':
        _require_whole_jpeg(image, data)
    return image


def read_npy(data: bytes, max_pixels: int) -> NDArray[Any]:
    """The array of a `.npy` file, (H, W) or (H, W, C), not copied; nothing is unpickled.

    Raises:
        ValueError: larger than `max_pixels`, cut off or damaged, or no array of pixels.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject or len(shape) not in (2, 3):
        raise ValueError(f'an array of {dtype} {shape} is no image: expected (H, W) or (H, W, C)')
    _require_pixels(shape[1], shape[0], max_pixels)
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if found != expected:
        raise ValueError(f'the array has {found} bytes instead of {expected}')
    order: Literal['F', 'C'] = 'F' if is_fortran else 'C'
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order=order)


def sniff(data: bytes) -> str:
    """The format of an encoded image, one of `FORMATS`, by its first bytes.

    Raises:
        ValueError: none of them.
    """
    if not data:
        raise ValueError('the file is empty')
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return 'WEBP'
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    raise ValueError(f'unknown format: none of {", ".join(FORMATS)}')


def _require_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(f'{width}x{height} is over max_pixels={max_pixels}')


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas, by the container specification (RFC 9649)."""
    kind, header = data[12:16], data[20:30]
    if len(header) == 10 and kind == b'VP8X':
        return (
            int.from_bytes(header[4:7], 'little') + 1,
            int.from_bytes(header[7:10], 'little') + 1,
        )
    if len(header) == 10 and kind == b'VP8L':
        bits = int.from_bytes(header[1:5], 'little')
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(header) == 10 and kind == b'VP8 ':
        return (
            int.from_bytes(header[6:8], 'little') & 0x3FFF,
            int.from_bytes(header[8:10], 'little') & 0x3FFF,
        )
    raise ValueError('the WEBP header is damaged')


def _require_whole_jpeg(image: Image.Image, data: bytes) -> None:
    """Raises ValueError for a file without its end, which a decoder may fill up silently.

    Zeros in place of the end, as after a full disk or a power cut, are valid data to libjpeg.
    """
    assert isinstance(image, JpegImageFile)
    assert image.fp is not None
    pixels = image.fp.tell()  # past the header and with it past the end of any thumbnail
    if data.rfind(b'\xff\xd9', pixels) < 0:
        raise ValueError('the JPEG is truncated: its end is missing')
    if 'progressive' in image.info and data.count(b'\xff\xda', pixels) > _MAX_SCANS:
        raise ValueError(f'the JPEG has more than {_MAX_SCANS} scans')
