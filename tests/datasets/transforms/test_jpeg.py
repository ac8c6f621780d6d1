import io

import pytest
from PIL import Image

from mae.datasets.transforms.jpeg import is_plain_jpeg, jpeg_shape


def encode(image, kind='JPEG', **kwargs):
    stream = io.BytesIO()
    image.save(stream, kind, **kwargs)
    return stream.getvalue()


@pytest.mark.parametrize('mode', ['L', 'RGB', 'CMYK'])
@pytest.mark.parametrize(
    'kwargs', [{}, {'progressive': True}, {'optimize': True}, {'exif': b'Exif\0\0' + b'\xff' * 999}]
)
def test_shape(photo, mode, kwargs):
    image = photo.convert(mode)
    assert jpeg_shape(encode(image, **kwargs)) == (len(mode), image.height, image.width)


def test_padding_before_a_marker(photo):
    content = encode(photo)
    assert jpeg_shape(content[:2] + b'\xff' * 5 + content[2:]) == (3, 427, 640)


@pytest.mark.parametrize(
    'content', [b'', b'\xff\xd8\xff', b'\xff\xd8\xff\xe0\0\x10JFIF', b'\xff\xd8\xff' + b'\0' * 99]
)
def test_no_jpeg(content):
    assert jpeg_shape(content) is None


def test_cut_short_at_every_byte_of_the_header(photo):
    content = encode(photo)
    start = content.index(b'\xff\xc0')
    assert all(jpeg_shape(content[:length]) is None for length in range(start + 9))
    assert jpeg_shape(encode(Image.new('RGB', (5, 4)), 'PNG')) is None


def test_what_is_plain(photo):
    size = photo.width * photo.height
    content = encode(photo)
    assert is_plain_jpeg(content, size)
    assert is_plain_jpeg(encode(photo, optimize=True, subsampling=0), size)
    exif = photo.getexif()
    exif[0x0112] = 6
    colours = b'\xff\xee\0\x0eAdobe' + bytes(7)
    for other in (
        encode(photo, exif=exif),
        encode(photo, progressive=True),
        encode(photo.convert('L')),
        encode(photo.convert('CMYK')),
        content[:2] + colours + content[2:],
        content[:-2],
        content[: len(content) // 2],
        content[:300],
        encode(photo, 'PNG'),
        b'',
    ):
        assert not is_plain_jpeg(other, size)
    assert not is_plain_jpeg(content, size - 1)


def test_a_thumbnail_does_not_stand_for_the_end(photo):
    thumbnail = encode(photo.resize((64, 48)))
    length = (len(thumbnail) + 2).to_bytes(2, 'big')
    content = encode(photo)
    framed = content[:2] + b'\xff\xe2' + length + thumbnail + content[2:]
    assert is_plain_jpeg(framed, photo.width * photo.height)
    assert not is_plain_jpeg(framed[:-2], photo.width * photo.height)
