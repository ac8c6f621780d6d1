"""Images as the bytes of a file."""

import io
import struct
import zlib


def encode(image, kind='JPEG', **kwargs):
    """In Pillow's format `kind`, with its options of saving."""
    stream = io.BytesIO()
    image.save(stream, kind, **kwargs)
    return stream.getvalue()


def png16(pixels):
    """A 16-bit PNG of grey, grey and alpha, RGB or RGBA, by the PNG specification (RFC 2083).

    Pillow can write grey alone.

    Args:
        pixels: uint16 (H, W, C).
    """
    height, width, channels = pixels.shape
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack('>IIBBBBB', width, height, 16, kind, 0, 0, 0)
    chunks = b''
    for name, body in ((b'IHDR', header), (b'IDAT', zlib.compress(rows, 1)), (b'IEND', b'')):
        chunks += struct.pack('>I', len(body)) + name + body
        chunks += struct.pack('>I', zlib.crc32(name + body))
    return b'\x89PNG\r\n\x1a\n' + chunks
