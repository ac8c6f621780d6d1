"""JPEGs: the header read without a decoder, and the pixels by libjpeg-turbo."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from torch import Tensor

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers that stand alone: TEM, RST, SOI
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..15 less DHT, JPG, DAC
_SEQUENTIAL = {0xC0, 0xC1}  # of the frames, those that need one pass
_SCAN = 0xDA  # SOS: the pixels follow
_ADOBE = 0xEE  # APP14 may mean other colours
_SPECIAL = {0xE1, _ADOBE}  # APP1 may turn the image (EXIF, XMP)
_END = b'\xff\xd9'
# Of brightness, horizontal and vertical, beside whole colours: 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1.
_SAMPLINGS = {0x11, 0x21, 0x12, 0x22, 0x41}


class Frame(NamedTuple):
    """What the frame header of a JPEG states (ITU-T T.81, B.2.2), and where in the file it is."""

    place: int
    channels: int
    height: int
    width: int


def plain_frame(data: bytes, max_pixels: int) -> Frame | None:
    """The frame header of a JPEG that can be decoded to RGB without looking at anything else.

    Most are: three channels in one scan, sequential, whole, of an allowed size, without anything
    that may turn them or change their colours. None does not mean that a file is damaged.
    """
    places = dict(_segments(data))
    frames = places.keys() & _FRAMES
    if (
        _SCAN not in places
        or len(frames) != 1
        or places.keys() & (_FRAMES - _SEQUENTIAL | _SPECIAL)
    ):
        return None
    frame = _frame(data, places[frames.pop()])
    if frame.channels != 3 or not 0 < frame.height * frame.width <= max_pixels:
        return None
    luma, *chroma = (data[frame.place + at] for at in (11, 14, 17))
    if luma not in _SAMPLINGS or chroma != [0x11, 0x11] or data[places[_SCAN] + 4] != 3:
        return None
    return frame if data.rfind(_END, places[_SCAN]) > 0 else None


def decode_jpeg(data: bytes, channels: int = 3) -> Tensor:
    """uint8 (channels, H, W) of a JPEG, RGB or grey; a pixel's channels side by side in memory.

    Raises:
        ValueError: libjpeg-turbo cannot read it.
    """
    pixels = simplejpeg.decode_jpeg(data, 'RGB' if channels == 3 else 'GRAY', strict=False)
    return _to_tensor(pixels)


def decode_upper_rows(data: bytes, frame: Frame, rows: int) -> Tensor:
    """uint8 (3, `rows`, W), the same pixels as of the whole, of a JPEG with a plain frame.

    The header that the decoder reads states a smaller height, so it skips the rest of the file.

    Raises:
        ValueError: libjpeg-turbo cannot read it.
    """
    lower = bytearray(data)
    height = min(rows + 1, frame.height)  # colours are interpolated with those of the next row
    lower[frame.place + 5 : frame.place + 7] = height.to_bytes(2, 'big')
    return _to_tensor(simplejpeg.decode_jpeg(lower, 'RGB', strict=False))[:, :rows]


def _to_tensor(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _frame(data: bytes, place: int) -> Frame:
    height = data[place + 5] << 8 | data[place + 6]
    width = data[place + 7] << 8 | data[place + 8]
    return Frame(place, data[place + 9], height, width)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, its place) up to the pixels, or to the first byte that begins no segment."""
    if data[:3] != b'\xff\xd8\xff':
        return
    place, size = 2, len(data)
    while place + 9 < size and data[place] == 0xFF:
        marker = data[place + 1]
        yield marker, place
        if marker == _SCAN:
            return
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _NO_LENGTH:
            place += 2
        else:
            place += 2 + (data[place + 2] << 8 | data[place + 3])
