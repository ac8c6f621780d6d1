import io

import pytest
import torch
from PIL import Image

from mae.datasets.transforms.jpeg import (
    Frame,
    decode_jpeg,
    decode_upper_rows,
    plain_frame,
)
from tests.image_bytes import encode

MOST = 10**6  # pixels


@pytest.mark.parametrize('kwargs', [{}, {'optimize': True}, {'subsampling': 0}])
def test_shape(photo, kwargs):
    content = encode(photo, **kwargs)
    frame = plain_frame(content, MOST)
    assert frame == Frame(frame.place, 3, photo.height, photo.width)
    assert content[frame.place] == 0xFF


def test_padding_before_a_marker(photo):
    content = encode(photo)
    place = plain_frame(content, MOST).place
    padded = content[:2] + b'\xff' * 5 + content[2:]
    assert plain_frame(padded, MOST) == (place + 5, 3, 427, 640)


@pytest.mark.parametrize(
    'content', [b'', b'\xff\xd8\xff', b'\xff\xd8\xff\xe0\0\x10JFIF', b'\xff\xd8\xff' + b'\0' * 99]
)
def test_no_jpeg(content):
    assert plain_frame(content, MOST) is None


def test_cut_short_at_every_byte_of_the_header(photo):
    content = encode(photo)
    start = content.index(b'\xff\xc0')
    assert all(plain_frame(content[:length], MOST) is None for length in range(start + 9))
    assert plain_frame(encode(Image.new('RGB', (5, 4)), 'PNG'), MOST) is None


def test_what_is_plain(photo):
    size = photo.width * photo.height
    content = encode(photo)
    assert plain_frame(content, size)
    assert plain_frame(encode(photo, optimize=True, subsampling=0), size)
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
        content.replace(b'\x03\x01\x22\0', b'\x03\x01\x31\0'),  # a rare sampling
        encode(photo, 'PNG'),
        b'',
    ):
        assert not plain_frame(other, size)
    assert not plain_frame(content, size - 1)


def test_a_thumbnail_does_not_stand_for_the_end(photo):
    thumbnail = encode(photo.resize((64, 48)))
    length = (len(thumbnail) + 2).to_bytes(2, 'big')
    content = encode(photo)
    framed = content[:2] + b'\xff\xe2' + length + thumbnail + content[2:]
    assert plain_frame(framed, photo.width * photo.height)
    assert not plain_frame(framed[:-2], photo.width * photo.height)


def lines(photo, **kwargs):
    """A small JPEG full of edges in brightness and colour, so that each row tells on the next."""
    return encode(photo.resize((75, 61)).quantize(8).convert('RGB'), **kwargs)


@pytest.mark.parametrize('subsampling', ['4:4:4', '4:2:2', '4:2:0'])
@pytest.mark.parametrize('kwargs', [{}, {'restart_marker_blocks': 3}, {'optimize': True}])
def test_upper_rows_are_those_of_the_whole(photo, capfd, subsampling, kwargs):
    content = lines(photo, subsampling=subsampling, **kwargs)
    frame = plain_frame(content, 75 * 61)
    whole = decode_jpeg(content)
    for rows in range(1, 62):
        upper = decode_upper_rows(content, frame, rows)
        assert upper.shape == (3, rows, 75)
        assert torch.equal(upper, whole[:, :rows])
    assert capfd.readouterr() == ('', '')  # a decoder may speak of bytes left over


@pytest.mark.parametrize('turn', [0x12, 0x41])
def test_upper_rows_of_rarer_samplings(photo, turn):
    """4:4:0 and 4:1:1, made of the scan of others: the pixels are a mess, and the same mess."""
    content = bytearray(lines(photo, subsampling='4:2:0'))
    content[plain_frame(bytes(content), 75 * 61).place + 11] = turn
    frame = plain_frame(bytes(content), 75 * 61)
    whole = decode_jpeg(bytes(content))
    for rows in range(1, 62):
        assert torch.equal(decode_upper_rows(bytes(content), frame, rows), whole[:, :rows])


def test_pixels_are_pillows(photo):
    content = encode(photo, quality=80)
    with Image.open(io.BytesIO(content)) as image:
        expected = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    found = decode_jpeg(content).permute(1, 2, 0)
    assert found.is_contiguous()
    assert (found.flatten().int() - expected.int()).abs().max() <= 2
