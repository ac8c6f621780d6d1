"""Pictures as they come in the wild: each with the right to be read, or not."""

import os
import struct
import zlib

import numpy as np
from PIL import Image

from tests.image_bytes import encode

_EXIF_ORIENTATION = 0x0112


def write_good(folder, count, size=20):
    """Ordinary pictures; their names begin with `good`."""
    noise = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        _save(folder / f'good{number}.png', noise.integers(0, 255, (size, size, 3), dtype=np.uint8))


def write_odd(folder):
    """What is odd but right: name -> a way to look at it is right."""
    noise = np.random.default_rng(1).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise)
    rgb.convert('CMYK').save(folder / 'cmyk.jpg')
    rgb.convert('L').save(folder / 'grey.jpg')
    rgb.convert('L').save(folder / 'grey.png')
    rgb.save(folder / 'progressive.jpg', progressive=True)
    Image.fromarray(noise[..., 0].astype(np.uint16) << 8).save(folder / 'sixteen.png')
    Image.fromarray(noise[..., 0].astype(np.uint16) << 8).save(folder / 'sixteen.tif')
    palette = rgb.quantize(16)
    palette.save(folder / 'palette-alpha.png', transparency=3)
    rgb.convert('RGBA').save(folder / 'alpha.png')
    rgb.convert('LA').save(folder / 'grey-alpha.png')
    rgb.convert('1').save(folder / 'one-bit.png')
    frames = [Image.fromarray(np.roll(noise, shift, 0)) for shift in (3, 6)]
    for name in ('animated.gif', 'animated.webp', 'animated.png'):
        rgb.save(folder / name, save_all=True, append_images=frames)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[_EXIF_ORIENTATION] = orientation
        rgb.save(folder / f'exif{orientation}.jpg', exif=exif)
    data = encode(rgb, 'JPEG')
    (folder / 'broken-exif.jpg').write_bytes(
        data[:2] + b'\xff\xe1\x00\x10Exif\x00\x00' + b'\xff' * 8 + data[2:]
    )
    (folder / 'png-called.jpg').write_bytes(encode(rgb, 'PNG'))
    (folder / 'jpeg-called.png').write_bytes(encode(rgb, 'JPEG'))
    _save(folder / 'one-by-one.png', noise[:1, :1])
    _save(folder / 'wide.png', np.zeros((1, 65535, 3), dtype=np.uint8))
    (folder / 'folder.jpg').mkdir()
    rgb.save(folder / 'folder.jpg' / 'inside.jpg')
    os.symlink('grey.png', folder / 'link.png')


def write_bad(folder):
    """What cannot be read; every name begins with `bad`."""
    noise = np.random.default_rng(2).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise)
    (folder / 'bad-empty.jpg').touch()
    for kind, ending in (('JPEG', 'jpg'), ('PNG', 'png'), ('WEBP', 'webp')):
        data = encode(rgb, kind)
        for tenth in range(10):
            cut = max(1, len(data) * tenth // 10)
            (folder / f'bad-cut{tenth}.{ending}').write_bytes(data[:cut])
    for number, ending in enumerate(('jpg', 'png', 'gif', 'tif', 'bmp', 'webp')):
        garbage = np.random.default_rng(number).bytes(3000)
        (folder / f'bad-garbage.{ending}').write_bytes(garbage)
    (folder / 'bad-text.jpg').write_text('<html><body>404 Not Found</body></html>')
    (folder / 'bad-archive.png').write_bytes(b'PK\x03\x04' + bytes(200))
    head = encode(rgb, 'JPEG')
    (folder / 'bad-body.jpg').write_bytes(head[:200])
    (folder / 'bad-huge.jpg').write_bytes(_jpeg_of_size(head, 30000, 30000))
    (folder / 'bad-huge.png').write_bytes(_png_of_size(30000, 30000))
    (folder / 'bad-bomb.png').write_bytes(_png_of_size(65000, 65000))
    (folder / 'bad-bomb.gif').write_bytes(
        b'GIF89a' + struct.pack('<HH', 65535, 65535) + encode(rgb, 'GIF')[10:]
    )
    os.mkfifo(folder / 'bad-fifo.jpg')
    os.symlink('bad-gone-target.jpg', folder / 'bad-dangling.jpg')


def write_loop(folder):
    """A link to itself."""
    os.symlink('bad-loop.jpg', folder / 'bad-loop.jpg')


def _save(path, pixels):
    Image.fromarray(pixels).save(path)


def _jpeg_of_size(data, height, width):
    """Another size in the header of the frame."""
    at = data.index(b'\xff\xc0') + 5
    return data[:at] + struct.pack('>HH', height, width) + data[at + 4 :]


def _png_of_size(height, width):
    """Black and deflated: some hundred kilobytes that become gigabytes."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)

    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b''.join(packer.compress(bytes(width + 1)) for _ in range(2000)) + packer.flush()
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
