import pytest
import torch
from PIL import Image

from mae.datasets.transforms import (
    DecodeImage,
    DecodeRandomResizedCrop,
    RandomResizedCrop,
    decode_crop,
)
from mae.utils.errors import DataError
from tests.image_bytes import encode

CROP = {'size': (24, 40), 'scale': (0.08, 1.0), 'ratio': (0.5, 2.0)}


def turned(image):
    exif = image.getexif()
    exif[0x0112] = 6
    return encode(image, exif=exif)


FILES = {
    'jpeg': encode,
    'progressive': lambda image: encode(image, progressive=True),
    'turned': turned,
    'grey': lambda image: encode(image.convert('L')),
    'cmyk': lambda image: encode(image.convert('CMYK')),
    'png': lambda image: encode(image, 'PNG'),
    'long': lambda image: encode(image.resize((300, 8))),
    'high': lambda image: encode(image.resize((8, 300))),
}


@pytest.mark.parametrize('decode', [None, {'type': 'DecodeImage', 'channels': 1}])
@pytest.mark.parametrize('oversize', ['redraw', 'clamp'])
@pytest.mark.parametrize('kind', FILES)
def test_the_pixels_are_those_of_the_two(photo, kind, oversize, decode):
    content = FILES[kind](photo.crop((100, 100, 340, 260)))
    crop = {**CROP, 'oversize': oversize}
    one = DecodeRandomResizedCrop(**crop, decode=decode)
    two = [DecodeImage(channels=3 if decode is None else 1), RandomResizedCrop(**crop)]
    for seed in range(12):
        torch.manual_seed(seed)
        found = one({'img_path': 'a name', 'img_bytes': content})
        torch.manual_seed(seed)
        expected = {'img_path': 'a name', 'img_bytes': content}
        for step in two:
            expected = step(expected)
        assert torch.equal(found['img'], expected['img'])
        assert found.keys() == expected.keys()


def test_rows_below_the_crop_are_not_decoded(photo, monkeypatch):
    heights = []
    real = decode_crop.decode_upper_rows

    def noted(data, frame, rows):
        heights.append(rows)
        return real(data, frame, rows)

    monkeypatch.setattr(decode_crop, 'decode_upper_rows', noted)
    crop = DecodeRandomResizedCrop(**CROP)
    for _ in range(20):
        crop({'img_path': '', 'img_bytes': encode(photo)})
    assert len(set(heights)) > 10
    assert max(heights) <= photo.height


def test_an_image_that_is_there(photo):
    img = torch.arange(3 * 50 * 60, dtype=torch.uint8).view(3, 50, 60)
    torch.manual_seed(0)
    found = DecodeRandomResizedCrop(16)({'img': img})['img']
    torch.manual_seed(0)
    assert torch.equal(found, RandomResizedCrop(16)({'img': img})['img'])


def test_a_file_on_the_disk(photo, tmp_path):
    path = tmp_path / 'photo.jpg'
    path.write_bytes(encode(photo))
    assert DecodeRandomResizedCrop(16)({'img_path': str(path)})['img'].shape == (3, 16, 16)


@pytest.mark.parametrize('content', [b'', b'no image', encode(Image.new('RGB', (99, 99)))[:-9]])
def test_a_damaged_file_is_told_by_its_path(content):
    with pytest.raises(DataError, match=r'^some/where\.jpg: cannot be decoded '):
        DecodeRandomResizedCrop(16)({'img_path': 'some/where.jpg', 'img_bytes': content})


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(DataError, match=r'none\.jpg: cannot be decoded .*No such file'):
        DecodeRandomResizedCrop(16)({'img_path': str(tmp_path / 'none.jpg')})
