import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from mae.datasets.transforms import DecodeImage
from mae.utils.errors import ConfigError, DataError
from tests.image_bytes import encode, png16

ORIENTATION = 0x0112


@pytest.fixture(scope='module')
def photo(photo):
    """A part of the photograph, as lossless files of the whole take long to write."""
    return photo.crop((100, 100, 340, 260))


def with_alpha(image):
    image = image.copy()
    image.putalpha(Image.fromarray(data.camera()).resize(image.size))
    return image


CASES = {  # name -> (bytes of the photo, greatest difference from its pixels)
    'png': (lambda p: encode(p, 'PNG'), 0),
    'bmp': (lambda p: encode(p, 'BMP'), 0),
    'tiff': (lambda p: encode(p, 'TIFF'), 0),
    'webp': (lambda p: encode(p, 'WEBP', lossless=True), 0),
    'webp alpha': (lambda p: encode(with_alpha(p), 'WEBP', lossless=True, exact=True), 0),
    'png alpha': (lambda p: encode(with_alpha(p), 'PNG'), 0),
    'png 16-bit': (lambda p: png16(np.asarray(p).astype(np.uint16) * 257), 0),
    'png palette': (lambda p: encode(p.quantize(256), 'PNG'), 80),
    'png palette alpha': (lambda p: encode(p.quantize(256), 'PNG', transparency=3), 80),
    'gif': (lambda p: encode(p.quantize(256), 'GIF'), 80),
    'jpeg': (lambda p: encode(p, 'JPEG', quality=98, subsampling=0), 15),
    'jpeg progressive': (
        lambda p: encode(p, 'JPEG', quality=98, subsampling=0, progressive=True),
        15,
    ),
    'jpeg cmyk': (lambda p: encode(p.convert('CMYK'), 'JPEG', quality=98, subsampling=0), 15),
}
GREY_CASES = {
    'png': (lambda p: encode(p, 'PNG'), 0),
    'png alpha': (lambda p: encode(p.convert('LA'), 'PNG'), 0),
    'png 16-bit': (
        lambda p: encode(Image.fromarray(np.asarray(p).astype(np.uint16) * 257), 'PNG'),
        0,
    ),
    'png palette': (lambda p: encode(p.convert('P'), 'PNG'), 0),
    'jpeg': (lambda p: encode(p, 'JPEG', quality=98), 8),
    'webp': (lambda p: encode(p, 'WEBP', lossless=True), 1),
    'bmp': (lambda p: encode(p, 'BMP'), 0),
}
BACKENDS = ['turbo', 'pillow']


def decoded(tmp_path, content, **kwargs):
    path = tmp_path / 'image'
    path.write_bytes(content)
    img = DecodeImage(**kwargs)({'img_path': str(path)})['img']
    assert img.dtype == torch.uint8
    return img


def difference(img, image):
    expected = np.atleast_3d(np.asarray(image)).astype(int)
    return np.abs(img.permute(1, 2, 0).numpy().astype(int) - expected).max()


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('case', CASES)
def test_colours(tmp_path, photo, case, backend):
    make, tolerance = CASES[case]
    img = decoded(tmp_path, make(photo), backend=backend)
    assert img.shape == (3, 160, 240)
    assert difference(img, photo) <= tolerance
    grey = decoded(tmp_path, make(photo), channels=1, backend=backend)
    assert difference(grey, photo.convert('L')) <= tolerance


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('case', GREY_CASES)
def test_grey(tmp_path, photo, case, backend):
    make, tolerance = GREY_CASES[case]
    grey = photo.convert('L')
    one = decoded(tmp_path, make(grey), channels=1, backend=backend)
    three = decoded(tmp_path, make(grey), backend=backend)
    assert (one.shape[0], three.shape[0]) == (1, 3)
    assert difference(one, grey) <= tolerance
    assert (three - three[:1]).abs().max() <= tolerance
    assert difference(three, grey.convert('RGB')) <= tolerance


@pytest.mark.parametrize('suffix', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_exif_rotation(tmp_path, photo, backend, suffix, orientation):
    stored = photo.rotate({1: 0, 3: 180, 6: 90, 8: 270}[orientation], expand=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    kwargs = {'WEBP': {'lossless': True}, 'JPEG': {'quality': 98, 'subsampling': 0}}
    content = encode(stored, suffix, exif=exif, **kwargs.get(suffix, {}))
    img = decoded(tmp_path, content, backend=backend)
    assert difference(img, photo) <= (15 if suffix == 'JPEG' else 0)


def test_backends_read_the_same_jpeg(tmp_path, portrait):
    content = encode(portrait, 'JPEG', quality=75)
    one, two = (decoded(tmp_path, content, backend=backend) for backend in BACKENDS)
    assert (one.int() - two.int()).abs().max() <= 2


def test_every_pixel_of_a_deep_image_is_scaled(tmp_path):
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for backend in BACKENDS:
        img = decoded(tmp_path, encode(Image.fromarray(deep), 'PNG'), channels=1, backend=backend)
        assert difference(img, deep // 256) == 0


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (lambda p: b'', 'the file is empty'),
        (lambda p: b'no image at all', 'unknown format'),
        (lambda p: encode(p, 'JPEG')[:5000], 'truncated'),
        (lambda p: encode(p, 'PNG')[:5000], '.'),
        (lambda p: encode(p, 'BMP')[:5000], '.'),
        (lambda p: encode(p, 'JPEG')[:20], '.'),
    ],
)
def test_broken_files_are_named_in_one_line(tmp_path, photo, backend, content, reason):
    with pytest.raises(DataError, match=reason) as error:
        decoded(tmp_path, content(photo), backend=backend)
    assert str(error.value).startswith(f'{tmp_path / "image"}: cannot be decoded ')
    assert '\n' not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'none.png: cannot be decoded.*No such file'):
        DecodeImage()({'img_path': str(tmp_path / 'none.png')})


def test_too_large_an_image_is_refused_by_its_header(tmp_path, photo):
    content = encode(photo, 'PNG')
    # The header says 60000 x 60000: refused though there are no such pixels to decode.
    size = struct.pack('>II', 60000, 60000)
    body = b'IHDR' + size + content[24:29]
    bomb = content[:12] + body + struct.pack('>I', zlib.crc32(body)) + content[33:]
    with pytest.raises(DataError, match='60000x60000 is over max_pixels'):
        decoded(tmp_path, bomb)
    with pytest.raises(DataError, match='240x160 is over max_pixels=1000'):
        decoded(tmp_path, content, max_pixels=1000)


@pytest.mark.parametrize('shape', [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_pixels_of_a_source_get_their_channels(shape):
    pixels = np.random.randint(0, 256, shape, dtype=np.uint8)
    three = DecodeImage()({'img': pixels})['img']
    one = DecodeImage(channels=1)({'img': pixels})['img']
    assert (three.shape, one.shape) == ((3, 8, 6), (1, 8, 6))
    image = Image.fromarray(pixels.squeeze())
    assert difference(three, image.convert('RGB')) == 0
    assert difference(one, image.convert('L')) == 0


def test_other_channels_are_refused():
    for pixels in (np.zeros((8, 6, 2), np.uint8), torch.zeros(4, 8, 6, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r'1 or 3 channels, got [24]'):
            DecodeImage()({'img': pixels})
    with pytest.raises(ValueError, match='must be uint8'):
        DecodeImage()({'img': torch.zeros(3, 8, 6)})
    with pytest.raises(ConfigError, match='channels must be positive, got 0'):
        DecodeImage(channels=0)
    with pytest.raises(ConfigError, match="got 'cv2'"):
        DecodeImage(backend='cv2')
