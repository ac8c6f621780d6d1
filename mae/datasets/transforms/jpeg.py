"""The header of a JPEG, read without a decoder."""

from collections.abc import Iterator

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers that stand alone: TEM, RST, SOI
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..15 less DHT, JPG, DAC
_SEQUENTIAL = {0xC0, 0xC1}  # of the frames, those that need one pass
_SCAN = 0xDA  # SOS: the pixels follow
_SPECIAL = {0xE1, 0xEE}  # APP1 may turn the image (EXIF), APP14 may mean other colours (Adobe)
_END = b'\xff\xd9'


def jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
    """(channels, height, width) that a JPEG's frame header states (ITU-T T.81, B.2.2).

    None for anything else, and for a file that is not as it should be: a decoder will say why.
    """
    return next((_shape(data, at) for marker, at in _segments(data) if marker in _FRAMES), None)


def is_plain_jpeg(data: bytes, max_pixels: int) -> bool:
    """Whether nothing about a JPEG needs a second look before it is decoded to RGB.

    Most are: three channels, sequential, whole, of an allowed size, without anything that may
    turn them or change their colours. False says nothing against a file.
    """
    places = dict(_segments(data))
    frames = places.keys() & _FRAMES
    if (
        _SCAN not in places
        or len(frames) != 1
        or places.keys() & (_FRAMES - _SEQUENTIAL | _SPECIAL)
    ):
        return False
    channels, height, width = _shape(data, places[frames.pop()])
    if channels != 3 or not 0 < height * width <= max_pixels:
        return False
    return data.rfind(_END, places[_SCAN]) > 0


def _shape(data: bytes, frame: int) -> tuple[int, int, int]:
    """What the frame header at that place states."""
    height = data[frame + 5] << 8 | data[frame + 6]
    width = data[frame + 7] << 8 | data[frame + 8]
    return data[frame + 9], height, width


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, its place) up to the pixels, or to whatever should not be there."""
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
