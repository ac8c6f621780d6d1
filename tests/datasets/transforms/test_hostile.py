"""Files that nobody should have: each is read rightly or refused, none crashes, hangs or bloats."""

import errno
import json
import os
import resource
import socket
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.datasets.transforms import DecodeImage, image_file
from mae.utils.errors import ConfigError, DataError
from tests.image_bytes import encode

BACKENDS = ['turbo', 'pillow']
TENTHS = range(10)


@pytest.fixture(scope='module')
def small(photo):
    return photo.resize((64, 48))


@pytest.fixture(scope='module')
def files(small):
    """One valid file of each kind."""
    return {
        'jpeg': encode(small, 'JPEG', quality=90),
        'progressive': encode(small, 'JPEG', quality=90, progressive=True),
        'restarts': encode(small, 'JPEG', quality=90, restart_marker_rows=1),
        'thumbnail': with_thumbnail(small),
        'cmyk': encode(small.convert('CMYK'), 'JPEG', quality=90),
        'png': encode(small, 'PNG'),
        'palette': encode(small.quantize(200), 'PNG', transparency=3),
        'webp': encode(small, 'WEBP'),
        'lossless': encode(small, 'WEBP', lossless=True),
        'gif': encode(small.quantize(256), 'GIF'),
        'bmp': encode(small, 'BMP'),
        'tiff': encode(small, 'TIFF'),
        'lzw': encode(small, 'TIFF', compression='tiff_lzw'),
        'ppm': encode(small, 'PPM'),
    }


def with_thumbnail(image):
    """A JPEG whose header holds another, so that an end marker stands before the pixels."""
    inner = encode(image.resize((16, 12)), 'JPEG')
    whole = encode(image, 'JPEG', quality=90)
    return whole[:2] + b'\xff\xe5' + struct.pack('>H', len(inner) + 2) + inner + whole[2:]


def png_chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width, height, pixels, *extra, depth=8, colour=2):
    """A PNG of given compressed pixels, with `extra` chunks before and after them."""
    before, after = (*extra, b'', b'')[:2]
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b'IHDR', header) + before + png_chunk(b'IDAT', pixels) + after
    return b'\x89PNG\r\n\x1a\n' + chunks + png_chunk(b'IEND', b'')


def jpeg_of_size(data, width, height):
    """A JPEG whose header claims another size."""
    start = next(i for i in range(len(data)) if data[i : i + 2] in (b'\xff\xc0', b'\xff\xc2'))
    return data[: start + 5] + struct.pack('>HH', height, width) + data[start + 9 :]


def outcome(data, **kwargs):
    """The pixels of an encoded image, or None where it is refused."""
    try:
        return DecodeImage(**kwargs).decode(data)
    except Exception:
        return None


@pytest.fixture
def reason(tmp_path):
    """reason(content) is why a file is refused."""

    def read(content, name='image.jpg', **kwargs):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as error:
            DecodeImage(**kwargs)({'img_path': str(path)})
        line = str(error.value)
        assert '\n' not in line
        assert '.cpp' not in line
        assert line.startswith(f'{path}: cannot be decoded ')
        return line.removeprefix(f'{path}: ').partition(': ')[2]

    return read


# --- cut off and damaged ------------------------------------------------------------------

KINDS = ['jpeg', 'progressive', 'restarts', 'thumbnail', 'cmyk', 'png', 'palette', 'webp']
KINDS += ['lossless', 'gif', 'bmp', 'tiff', 'lzw', 'ppm']


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', KINDS)
def test_a_file_cut_off_is_refused_unless_its_pixels_are_all_there(files, kind, backend):
    whole = files[kind]
    pixels = DecodeImage(backend=backend).decode(whole)
    cuts = [len(whole) * tenth // 10 for tenth in TENTHS] + [len(whole) - n for n in (1, 2, 9)]
    refused = 0
    for cut in cuts:
        img = outcome(whole[:cut], backend=backend)
        refused += img is None
        assert img is None or torch.equal(img, pixels), cut
    assert refused >= len(TENTHS)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    'kind', ['jpeg', 'progressive', 'restarts', 'thumbnail', 'cmyk', 'png', 'palette']
)
def test_zeros_in_place_of_the_end_are_seen(files, kind, backend):
    whole = files[kind]
    for tenth in TENTHS:
        cut = len(whole) * tenth // 10
        assert outcome(whole[:cut] + bytes(len(whole) - cut), backend=backend) is None, cut


def test_what_follows_the_end_of_a_jpeg_does_no_harm(files):
    pixels = DecodeImage().decode(files['jpeg'])
    for backend in BACKENDS:
        img = DecodeImage(backend=backend).decode(files['jpeg'] + b'trailer' * 99)
        assert (img.int() - pixels.int()).abs().max() <= 2


def test_a_damaged_checksum_is_seen(files):
    data = bytearray(files['png'])
    data[len(data) // 2] ^= 1
    assert all(outcome(bytes(data), backend=backend) is None for backend in BACKENDS)


# --- not what the name says ---------------------------------------------------------------


def test_the_content_decides_not_the_name(tmp_path, files, small):
    for name, kind in (
        ('a.jpg', 'png'),
        ('b.png', 'bmp'),
        ('c.webp', 'lossless'),
        ('d.txt', 'ppm'),
    ):
        (tmp_path / name).write_bytes(files[kind])
        for backend in BACKENDS:
            img = DecodeImage(backend=backend)({'img_path': str(tmp_path / name)})['img']
            assert np.array_equal(img.permute(1, 2, 0), np.asarray(small))


def test_other_formats_are_refused(reason, small, files):
    assert reason(b'') == 'the file is empty'
    for content in (
        b'no image at all',
        b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n',
        b'P3 1 1 255 1 2 3',
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        encode(small, 'ICO'),
        encode(small, 'PDF'),
        np.random.default_rng(0).bytes(5000),
    ):
        assert reason(content).startswith('unknown format')
    assert reason(files['gif'], formats=['JPEG', 'PNG']).startswith('GIF is not among')
    with pytest.raises(ConfigError, match="got \\['EPS'\\]"):
        DecodeImage(formats=['EPS'])


def test_only_regular_files_are_opened(tmp_path, reason, files):
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'loop.jpg').symlink_to('loop.jpg')
    (tmp_path / 'endless.jpg').symlink_to('/dev/zero')
    (tmp_path / 'dangling.jpg').symlink_to('nowhere')
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f'/proc/self/fd/{folder}/socket.jpg')  # its own path may be too long
        os.close(folder)
        assert reason(None, 'socket.jpg') == 'No such device or address'
    assert 'directory' in reason(None, 'folder.jpg') or 'regular' in reason(None, 'folder.jpg')
    assert reason(None, 'pipe.jpg') == 'not a regular file'
    assert reason(None, 'endless.jpg') == 'not a regular file'
    assert reason(None, 'loop.jpg') == 'Too many levels of symbolic links'
    assert reason(None, 'dangling.jpg') == 'No such file or directory'
    (tmp_path / 'link.jpg').symlink_to('real.jpg')
    (tmp_path / 'real.jpg').write_bytes(files['jpeg'])
    assert DecodeImage()({'img_path': str(tmp_path / 'link.jpg')})['img'].shape == (3, 48, 64)


def test_a_huge_file_is_not_read(tmp_path, reason):
    with open(tmp_path / 'sparse.jpg', 'wb') as file:
        file.truncate(2**40)
    assert reason(None, 'sparse.jpg') == f'{2**40} bytes are over max_bytes={2**28}'


def test_an_error_that_passes_is_tried_again(tmp_path, files, monkeypatch):
    (tmp_path / 'a.jpg').write_bytes(files['jpeg'])
    real, failures = os.open, [errno.EIO, errno.ESTALE]

    def flaky(*args):
        if failures:
            raise OSError(failures.pop(), 'not now')
        return real(*args)

    monkeypatch.setattr(image_file.os, 'open', flaky)
    monkeypatch.setattr(image_file.time, 'sleep', lambda seconds: None)
    assert image_file.read_image_bytes(str(tmp_path / 'a.jpg'), 2**20) == files['jpeg']
    failures[:] = [errno.EIO] * 9
    with pytest.raises(OSError, match='not now'):
        image_file.read_image_bytes(str(tmp_path / 'a.jpg'), 2**20)
    assert len(failures) == 6


# --- odd but valid ------------------------------------------------------------------------


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_extreme_shapes(kind, backend):
    long = 16383 if kind == 'WEBP' else 65535 if kind == 'PNG' else 65500  # libjpeg's limit
    for size in ((1, 1), (1, long), (long, 1)):
        image = Image.new('RGB', size, (200, 100, 50))
        img = DecodeImage(backend=backend).decode(encode(image, kind))
        assert img.shape == (3, size[1], size[0])
        assert (img.float().mean((1, 2)) - torch.tensor([200.0, 100, 50])).abs().max() < 4


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['GIF', 'WEBP', 'PNG', 'TIFF', 'MPO'])
def test_of_several_pictures_the_first_is_read(small, kind, backend):
    frames = [small, small.transpose(Image.Transpose.FLIP_LEFT_RIGHT), small.rotate(180)]
    kwargs = {'WEBP': {'lossless': True}, 'MPO': {'quality': 98}}.get(kind, {})
    data = encode(small, kind, save_all=True, append_images=frames[1:], **kwargs)
    img = DecodeImage(backend=backend).decode(data).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(img - np.asarray(small)).mean() < {'GIF': 12, 'MPO': 4}.get(kind, 0.001)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_every_orientation(small, kind, backend):
    flips = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for orientation in range(10):  # 0 and 9 mean nothing
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = small
        for flip in flips.get(orientation, []):
            stored = stored.transpose(flip)
        kwargs = {'JPEG': {'quality': 98, 'subsampling': 0}, 'WEBP': {'lossless': True}}
        data = encode(stored, kind, exif=exif, **kwargs.get(kind, {}))
        img = DecodeImage(backend=backend).decode(data).permute(1, 2, 0).numpy().astype(int)
        assert img.shape == (48, 64, 3)
        assert np.abs(img - np.asarray(small)).max() <= (25 if kind == 'JPEG' else 0), orientation


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.filterwarnings('ignore:Corrupt EXIF data', 'ignore:Truncated File Read')
def test_damaged_exif_data_does_not_cost_the_image(small, kind):
    kwargs = {} if kind == 'JPEG' else {'lossless': True} if kind == 'WEBP' else {}
    plain = DecodeImage().decode(encode(small, kind, **kwargs))
    for exif in (
        b'',
        b'MM',
        b'nonsense',
        b'MM\0*\0\0\0\x08\xff\xff\x01\x12',
        b'II*\0\xff\xff\xff\xff',
    ):
        data = encode(small, kind, exif=b'Exif\0\0' + exif, **kwargs)
        for backend in BACKENDS:
            img = DecodeImage(backend=backend).decode(data)
            assert (img.int() - plain.int()).abs().max() <= 2


@pytest.mark.parametrize('backend', BACKENDS)
def test_unusual_depths(small, backend):
    decode = DecodeImage(backend=backend).decode
    grey = np.asarray(small.convert('L'))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    rows = b''.join(b'\0' + np.stack([row, row[::-1]], -1).tobytes() for row in grey)
    wide = b''.join(
        b'\0' + np.stack([row, row[::-1]], -1).astype('>u2').tobytes()
        for row in grey.astype(np.uint16) * 257
    )
    for data in (
        encode(deep, 'TIFF'),
        encode(deep, 'PPM'),
        png(64, 48, zlib.compress(rows), colour=4),
        png(64, 48, zlib.compress(wide), depth=16, colour=4),
    ):
        img = decode(data)
        assert all(np.array_equal(channel, grey) for channel in img)
    black_white = small.convert('1')
    for kind in ('PNG', 'TIFF', 'BMP', 'PPM'):
        assert np.array_equal(decode(encode(black_white, kind))[0] > 0, np.asarray(black_white))
    for mode in ('I', 'F'):
        with pytest.raises(ValueError, match='32-bit'):
            decode(encode(Image.fromarray(grey.astype(np.int32)).convert(mode), 'TIFF'))


# --- bombs --------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def bombs(files):
    """name -> a file that is small and asks for a lot, and a word that its refusal must hold."""
    zeros = zlib.compress(bytes(2**28), 1)  # 256 MiB in 1.2 MB
    tiny = zlib.compress(b'\0' * 13)  # the pixels of 4x1, RGB
    canvas = struct.pack('<I', 0)[:4] + (16382).to_bytes(3, 'little') * 2
    vp8x = b'VP8X' + struct.pack('<I', 10) + canvas
    webp = b'RIFF' + struct.pack('<I', 4 + len(vp8x)) + b'WEBP' + vp8x
    jpeg, progressive = files['jpeg'], files['progressive']
    scan = progressive.rindex(b'\xff\xda')
    gif = files['gif'][:6] + struct.pack('<HH', 65535, 65535) + files['gif'][10:]
    bmp = files['bmp'][:18] + struct.pack('<ii', 2**30, 2**30) + files['bmp'][26:]
    return {
        'jpeg 30000x30000': (jpeg_of_size(jpeg, 30000, 30000), 'max_pixels'),
        'jpeg 1x65535': (jpeg_of_size(jpeg, 1, 65535), None),
        'jpeg scans': (progressive[:-2] + progressive[scan:-2] * 5000 + b'\xff\xd9', 'scans'),
        'png 30000x30000': (png(30000, 30000, tiny), 'max_pixels'),
        'png pixels': (png(4, 1, zeros), None),
        'png text': (png(4, 1, tiny, png_chunk(b'zTXt', b'k\0\0' + zeros)), None),
        'png text behind': (png(4, 1, tiny, b'', png_chunk(b'zTXt', b'k\0\0' + zeros)), None),
        'png profile': (png(4, 1, tiny, png_chunk(b'iCCP', b'k\0\0' + zeros)), None),
        'png many texts': (
            png(4, 1, tiny, png_chunk(b'zTXt', b'k\0\0' + zlib.compress(bytes(10**6))) * 300),
            None,
        ),
        'webp 16383x16383': (webp, 'max_pixels'),
        'webp lossless': (
            files['lossless'][:21] + struct.pack('<I', 0xFFFFFFF) + files['lossless'][25:],
            'max_pixels',
        ),
        'gif 65535x65535': (gif, 'max_pixels'),
        'bmp 2^30x2^30': (bmp, 'max_pixels'),
        'ppm': (b'P6 60000 60000 255\n', 'max_pixels'),
        'tiff': (tiff_of_size(60000, 60000), 'max_pixels'),
        'tiff strip': (tiff_of_size(64, 48, count=2**31), None),
    }


def tiff_of_size(width, height, count=100):
    """A TIFF header and nothing else; `count` bytes are promised in its only strip."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, count)]
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4)


def in_a_child(work, memory):
    """What `work()` returns in a forked process with `memory` more bytes than this one has."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pages = int(Path('/proc/self/statm').read_text().split()[0])
            limit = pages * resource.getpagesize() + memory
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            warnings.simplefilter('ignore')
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libpng talk there
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, 'rb') as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(answer)


@pytest.mark.parametrize('backend', BACKENDS)
def test_bombs_are_refused_within_little_memory(bombs, backend):
    def work():
        answers = {}
        for name, (data, _) in bombs.items():
            assert len(data) < 3 * 2**20
            try:
                answers[name] = list(DecodeImage(backend=backend).decode(data).shape)
            except Exception as error:
                answers[name] = str(error) or type(error).__name__
        return answers

    for name, answer in in_a_child(work, 2**28).items():
        expected = bombs[name][1]
        if name == 'png pixels' or name == 'png text behind':  # all asked for are there
            assert answer == [3, 1, 4] or isinstance(answer, str), name
        else:
            assert isinstance(answer, str), (name, answer)
            assert expected is None or expected in answer, (name, answer)


@pytest.mark.parametrize('kind', KINDS)
def test_random_damage_never_ends_the_process(files, kind):
    data = files[kind]

    def work():
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(60):
            damaged = bytearray(data)
            reach = rng.choice([64, len(data)])  # headers are where it hurts
            for place in rng.integers(0, min(reach, len(data)), rng.choice([1, 2, 8])):
                damaged[place] = rng.choice([0, 255, damaged[place] ^ 1, rng.integers(256)])
            refused += outcome(bytes(damaged), max_pixels=2**20) is None
        return refused

    assert 0 < in_a_child(work, 2**29) <= 60
