"""The header of a JPEG, read without a decoder."""

_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers that stand alone: TEM, RST, SOI
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..15 less DHT, JPG, DAC


def jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
    """(channels, height, width) that a JPEG's frame header states (ITU-T T.81, B.2.2).

    None for anything else, and for a file that is not as it should be: a decoder will say why.
    """
    if data[:3] != b'\xff\xd8\xff':
        return None
    place, size = 2, len(data)
    while place + 9 < size:
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker in _FRAMES:
            height = data[place + 5] << 8 | data[place + 6]
            width = data[place + 7] << 8 | data[place + 8]
            return data[place + 9], height, width
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _NO_LENGTH:
            place += 2
        else:
            place += 2 + (data[place + 2] << 8 | data[place + 3])
    return None
