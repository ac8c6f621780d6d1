"""PNGs whose metadata are larger than Pillow takes: whole images all the same, unless a bomb."""

import io
import struct
import zlib

import pytest
import torch
from PIL import Image, PngImagePlugin

from mae.datasets.transforms import DecodeImage
from mae.datasets.transforms.png import without_metadata
from mae.utils.errors import DataError
from tests.image_bytes import encode

BACKENDS = ['turbo', 'pillow']
LONG = 'a' * 3_000_000


def info(method, *args, **kwargs):
    made = PngImagePlugin.PngInfo()
    getattr(made, method)(*args, **kwargs)
    return {'pnginfo': made}


def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def with_chunk(data, kind, body):
    """The chunk right behind the header."""
    return data[:33] + chunk(kind, body) + data[33:]


METADATA = {
    'compressed text': info('add_text', 'workflow', LONG, zip=True),
    'text': info('add_text', 'workflow', LONG),
    'XMP': info('add_itxt', 'XML:com.adobe.xmp', LONG, zip=True),
    'plain XMP': info('add_itxt', 'XML:com.adobe.xmp', LONG),
    'colour profile': {'icc_profile': bytes(3_000_000)},
}


@pytest.fixture(scope='module')
def small(photo):
    return photo.resize((64, 48))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('name', METADATA)
def test_much_metadata_costs_no_image(small, name, backend):
    data = encode(small, 'PNG', **METADATA[name])
    img = DecodeImage(backend=backend)({'img_path': name, 'img_bytes': data})['img']
    assert torch.equal(img, DecodeImage().decode(encode(small, 'PNG')))


@pytest.mark.parametrize(
    ('kind', 'body'),
    [
        (b'iCCP', b'name\0\7what'),  # an unknown method
        (b'zTXt', b'name\0\7what'),
        (b'zTXt', b'name\0\0no zlib stream'),
        (b'iTXt', b'name'),
        (b'gAMA', b'\0'),
        (b'cHRM', b''),
        (b'prVt', b'of some program'),
    ],
)
def test_odd_metadata_cost_no_image_either(small, kind, body):
    plain = encode(small, 'PNG')
    img = DecodeImage().decode(with_chunk(plain, kind, body))
    assert torch.equal(img, DecodeImage().decode(plain))


def test_what_pixels_depend_on_stays(small):
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = f'\nexif\n{len(exif.tobytes())}\n{exif.tobytes().hex()}'
    turned = DecodeImage().decode(encode(small, 'PNG', exif=exif))
    assert turned.shape == (3, 64, 48)
    xmp = '<rdf:Description tiff:Orientation="6"/>'
    for carrier in (
        info('add_itxt', 'XML:com.adobe.xmp', xmp),
        info('add_text', 'Raw profile type exif', raw, zip=True),
    ):
        data = encode(small, 'PNG', icc_profile=bytes(2_000_000), **carrier)
        assert torch.equal(DecodeImage().decode(data), turned)
    palette = encode(small.quantize(30), 'PNG', transparency=3)
    assert without_metadata(palette) is palette


def test_metadata_that_unpack_to_a_bomb_are_refused(small):
    plain = encode(small, 'PNG')
    bomb = zlib.compress(bytes(2**27), 9)
    for kind, body in ((b'zTXt', b'k\0\0'), (b'iCCP', b'k\0\0'), (b'iTXt', b'k\0\1\0\0\0')):
        with pytest.raises(DataError, match=r'PNG unpack to over 67108'):
            DecodeImage()({'img_path': 'x', 'img_bytes': with_chunk(plain, kind, body + bomb)})
    many = plain
    for _ in range(70):
        many = with_chunk(many, b'zTXt', b'k\0\0' + zlib.compress(bytes(2**20)))
    with pytest.raises(ValueError, match='unpack to over'):
        without_metadata(many)


@pytest.mark.parametrize('place', [20, 40, -6, -1])
def test_every_checksum_is_looked_at(small, place):
    data = bytearray(encode(small, 'PNG', pnginfo=info('add_text', 'k', 'text')['pnginfo']))
    data[place] ^= 1
    with pytest.raises(ValueError, match=r'the PNG is (damaged: a wrong checksum|truncated)'):
        without_metadata(bytes(data))


def test_a_missing_end_is_seen(small):
    data = encode(small, 'PNG')
    for length in (len(data) // 2, len(data) - 1, len(data) - 12, 33, 8):
        with pytest.raises(ValueError, match='truncated: its end is missing'):
            without_metadata(data[:length])


def test_pillow_reads_what_is_left(small):
    data = encode(small, 'PNG', **METADATA['compressed text'])
    left = without_metadata(data)
    assert len(left) < len(data)
    with Image.open(io.BytesIO(left)) as image:
        image.verify()
