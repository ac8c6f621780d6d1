"""PNGs without texts and colour profiles, for whose size Pillow would refuse an intact file.

By the PNG specification (third edition, sections 5 and 11): a signature, then chunks of length,
type, body and checksum.
"""

import zlib
from collections.abc import Iterator

SIGNATURE = b'\x89PNG\r\n\x1a\n'

_END = b'IEND'
# What pixels depend on besides critical chunks: transparency, orientation, the first picture of an
# animation. The texts of these names may contain an orientation too.
_KEPT = {b'tRNS', b'eXIf', b'acTL', b'fcTL', b'fdAT'}
_TEXTS = {b'tEXt', b'zTXt', b'iTXt'}
_NAMES = (b'XML:com.adobe.xmp\0', b'Raw profile type exif\0', b'exif\0')
_LONGEST = max(map(len, _NAMES))
_MAX_TEXT = 1 << 20  # bytes of an unpacked text, as Pillow allows; a longer one is dropped
_MAX_UNPACKED = 1 << 26  # of all texts and profiles of an image; more is a bomb
_PIECE = 1 << 20


def without_metadata(data: bytes) -> bytes:
    """The PNG without colour profile, texts and whatever else its pixels do not depend on.

    Every checksum is verified on the way, which decoders do not do.

    Raises:
        ValueError: cut off, damaged, or its texts and profiles unpack to over 64 MiB.
    """
    parts, unpacked = [memoryview(data)[: len(SIGNATURE)]], 0
    for kind, body, whole in _chunks(data):
        is_critical = not kind[0] & 0x20
        size = 0 if is_critical else _unpacked_size(kind, body, _MAX_UNPACKED - unpacked)
        unpacked += size
        if unpacked > _MAX_UNPACKED:
            raise ValueError(f'texts and profiles of the PNG unpack to over {_MAX_UNPACKED} bytes')
        is_small = size <= _MAX_TEXT
        is_named = kind in _TEXTS and bytes(body[:_LONGEST]).startswith(_NAMES)
        if is_critical or kind in _KEPT or (is_named and is_small):
            parts.append(whole)
    return data if sum(map(len, parts)) == len(data) else b''.join(parts)


def may_be_turned(data: bytes) -> bool:
    """Whether there may be an orientation, for which Pillow would decode all pixels."""
    return any(mark in data for mark in (b'eXIf', *_NAMES))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """(type, body, all of it) of each chunk up to the last."""
    view, place, kind = memoryview(data), len(SIGNATURE), b''
    while kind != _END:
        kind = data[place + 4 : place + 8]
        stop = place + 12 + int.from_bytes(data[place : place + 4], 'big')
        if len(kind) < 4 or stop > len(data):
            raise ValueError('the PNG is truncated: its end is missing')
        if not kind.isalpha() or zlib.crc32(view[place + 4 : stop - 4]) != int.from_bytes(
            view[stop - 4 : stop], 'big'
        ):
            raise ValueError(f'the PNG is damaged: a wrong checksum at byte {place}')
        yield kind, view[place + 8 : stop - 4], view[place:stop]
        place = stop


def _unpacked_size(kind: bytes, body: memoryview, limit: int) -> int:
    """Bytes that a text or profile unpacks to, 0 of other chunks; counted to just over `limit`."""
    if kind not in {*_TEXTS, b'iCCP'}:
        return 0
    rest = bytes(body).partition(b'\0')[2]
    if kind != b'iTXt':
        return len(body) if kind == b'tEXt' else _inflated_size(rest[1:], limit)  # the method first
    packed, *fields = rest.split(b'\0', 3)  # the method is 0 too; language, keyword, text
    return _inflated_size(fields[2], limit) if packed == b'\1' and len(fields) == 3 else len(body)


def _inflated_size(rest: bytes, limit: int) -> int:
    """Counted a piece at a time, so that nothing is kept."""
    inflate, size = zlib.decompressobj(), 0
    try:
        while rest and size <= limit and not inflate.eof:
            size += len(inflate.decompress(rest, _PIECE))
            rest = inflate.unconsumed_tail
    except zlib.error:  # Pillow ignores such a text
        pass
    return size
