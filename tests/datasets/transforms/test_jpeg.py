import io

import pytest
from PIL import Image

from mae.datasets.transforms.jpeg import jpeg_shape


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
