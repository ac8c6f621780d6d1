"""One picture is the same whatever it comes as: path, bytes, Pillow image, array or tensor."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from mae.apis.images import ReadImage, name_images
from mae.datasets import SeededDataset
from mae.datasets.transforms import DecodeImage, DecodeRandomResizedCrop
from mae.utils.errors import DataError
from tests.image_bytes import encode


def deep(kind):
    """A ramp of 16 bits, 48 x 64."""
    return Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64) * 21).convert(kind)


@pytest.fixture(scope='module')
def files():
    """name -> encoded pictures of each mode that Pillow may open one in."""
    photo = Image.fromarray(data.astronaut()[40:136, 180:308]).resize((64, 48))
    grey, alpha = photo.convert('L'), photo.copy()
    alpha.putalpha(grey)
    turned = Image.Exif()
    turned[0x0112] = 6
    xmp = b'<rdf:Description tiff:Orientation="8"/>'
    frames = {'save_all': True, 'append_images': [photo.rotate(90)]}
    return {
        'png 16 bits': encode(deep('I;16'), 'PNG'),
        'tiff 16 bits': encode(deep('I;16'), 'TIFF'),
        'pgm 16 bits': encode(deep('I;16'), 'PPM'),
        'tiff 16 bits big-endian': encode(deep('I;16B'), 'TIFF'),
        'tiff float': encode(photo.convert('F'), 'TIFF'),
        'tiff 32 bits': encode(grey.convert('I'), 'TIFF'),
        'bigtiff': encode(photo, 'TIFF', big_tiff=True),
        'png 1 bit': encode(photo.convert('1'), 'PNG'),
        'pbm': encode(photo.convert('1'), 'PPM'),
        'bmp 1 bit': encode(photo.convert('1'), 'BMP'),
        'png grey alpha': encode(alpha.convert('LA'), 'PNG'),
        'png alpha': encode(alpha, 'PNG'),
        'png transparent colour': encode(photo, 'PNG', transparency=(1, 2, 3)),
        'png palette': encode(photo.quantize(200), 'PNG', transparency=7),
        'png palette 4 bits': encode(photo.quantize(13), 'PNG', bits=4),
        'gif': encode(photo.quantize(200), 'GIF', transparency=7),
        'gif frames': encode(photo, 'GIF', **frames),
        'apng': encode(photo, 'PNG', **frames),
        'webp frames': encode(photo, 'WEBP', lossless=True, **frames),
        'tiff frames': encode(photo, 'TIFF', **frames),
        'mpo': encode(photo, 'MPO', **frames),
        'tiff cmyk': encode(photo.convert('CMYK'), 'TIFF'),
        'tiff lab': encode(photo.convert('LAB'), 'TIFF'),
        'jpeg cmyk': encode(photo.convert('CMYK')),
        'jpeg grey': encode(grey),
        'jpeg': encode(photo, quality=98),
        'jpeg turned': encode(photo, exif=turned),
        'jpeg turned by XMP': encode(photo, xmp=xmp),
        'jpeg profile': encode(photo, icc_profile=bytes(3_000_000)),
        'webp profile': encode(photo, 'WEBP', icc_profile=bytes(3_000_000)),
        'png turned': encode(photo, 'PNG', exif=turned),
        'webp turned': encode(photo, 'WEBP', exif=turned),
        'tiff turned': encode(photo, 'TIFF', exif=turned),
        'jpeg damaged EXIF': encode(photo, exif=b'Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12'),
    }


def outcome(read, *args):
    """The pixels, or why there are none."""
    try:
        return read(*args)
    except DataError as error:
        return str(error).rpartition('cannot be decoded as an image: ')[2]


def by_path(decode, path):
    return decode({'img_path': str(path)})['img']


def opened(path, load):
    image = Image.open(path)
    if load:
        image.load()
    return image


@pytest.mark.filterwarnings('ignore:Corrupt EXIF data')
@pytest.mark.parametrize('channels', [1, 3])
def test_a_picture_is_the_same_by_path_and_as_a_pillow_image(files, tmp_path, channels):
    refused = set()
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        roads = {
            'path': outcome(by_path, DecodeImage(channels), path),
            'pillow': outcome(by_path, DecodeImage(channels, 'pillow'), path),
            'opened': outcome(DecodeImage(channels).convert, opened(path, load=False)),
            'loaded': outcome(DecodeImage(channels).convert, opened(path, load=True)),
        }
        for road, found in roads.items():
            assert type(found) is type(roads['path']), (name, road, found)
            is_same = found == roads['path'] if isinstance(found, str) else None
            assert is_same or torch.equal(found, roads['path']), (name, road)
        if isinstance(roads['path'], str):
            refused.add(name)
    lab = {'tiff lab'} if channels == 1 else set()  # Pillow makes no grey of it
    assert refused == {'tiff float', 'tiff 32 bits'} | lab


def test_a_deep_picture_is_the_same_as_anything(tmp_path):
    pixels = np.arange(3072, dtype=np.uint16).reshape(48, 64) * 21
    Image.fromarray(pixels).save(tmp_path / 'scan.png')
    expected = torch.from_numpy((pixels >> 8).astype(np.uint8))[None]
    np.save(tmp_path / 'scan.npy', pixels)
    read = ReadImage(1, (48, 64))
    for image in (
        tmp_path / 'scan.png',
        tmp_path / 'scan.npy',
        Image.open(tmp_path / 'scan.png'),
        Image.fromarray(pixels),
        pixels,
        pixels[..., None],
        pixels.astype('>u2'),
        torch.from_numpy(pixels),
        torch.from_numpy(pixels)[None],
        expected,
    ):
        assert torch.equal(read(image), expected)
    assert torch.equal(ReadImage(3, (48, 64))(pixels), expected.expand(3, -1, -1))


def test_black_and_white_is_the_same_as_anything(tmp_path):
    pixels = np.random.default_rng(0).random((48, 64)) < 0.5
    Image.fromarray(pixels).save(tmp_path / 'scan.png')
    expected = torch.from_numpy(pixels)[None] * torch.tensor(255, dtype=torch.uint8)
    read = ReadImage(1, (48, 64))
    for image in (
        tmp_path / 'scan.png',
        Image.open(tmp_path / 'scan.png'),
        pixels,
        torch.from_numpy(pixels),
    ):
        assert torch.equal(read(image), expected)


@pytest.mark.parametrize('kind', [np.float32, np.float64, np.int32, np.int64])
def test_without_an_agreed_white_all_are_refused(kind):
    pixels = np.linspace(0, 1, 3072).reshape(48, 64).astype(kind)
    images = [pixels, torch.from_numpy(pixels)]
    images += [Image.fromarray(pixels)] if pixels.itemsize == 4 else []
    for image in images:
        with pytest.raises(ValueError, match='no agreed white'):
            ReadImage(1, (16, 16))(image)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((8, 6, 4), np.uint8), r'got 4 of \(4, 8, 6\) \(C, H, W\), for channels=3'),
        (np.zeros((3, 8, 6), np.uint8), r'got 6 of \(6, 3, 8\).*arrays are \(H, W, C\)'),
        (torch.zeros(8, 6, 3, dtype=torch.uint8), r'got 8 of \(8, 6, 3\).*tensors \(C, H, W\)'),
        (np.zeros(5, np.uint8), r'\(C, H, W\).*\(H, W, C\).* \(5,\) uint8'),
        (np.zeros((0, 6, 3), np.uint8), r'no pixels: \(3, 0, 6\)'),
        (torch.zeros(3, 8, 0, dtype=torch.uint8), r'no pixels: \(3, 8, 0\)'),
        (Image.new('RGB', (0, 4)), 'Pillow image: cannot'),
        (b'bytes', 'image: bytes'),
        (None, 'image: NoneType'),
    ],
)
def test_other_shapes_are_told_in_one_line(image, message):
    ((_, named),) = name_images(image)
    with pytest.raises(ValueError, match=message) as error:
        ReadImage(3, (16, 16))(named)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('channels', [2, 4, 5])
def test_any_number_of_channels_that_the_model_takes(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, channels), dtype=np.uint8)
    np.save(tmp_path / 'bands.npy', pixels)
    np.save(tmp_path / 'columns.npy', np.asfortranarray(pixels))
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    read = ReadImage(channels, (20, 30))
    for image in (pixels, expected, tmp_path / 'bands.npy', tmp_path / 'columns.npy'):
        assert torch.equal(read(image), expected)
    assert ReadImage(channels, (16, 16))(pixels).shape == (channels, 16, 16)
    with pytest.raises(ValueError, match=rf'must have {channels} channels, got 3'):
        read(pixels[..., :1].repeat(3, -1))
    Image.fromarray(pixels[..., 0]).save(tmp_path / 'grey.png')
    with pytest.raises(DataError, match=f'channels={channels}: give arrays, or .npy files'):
        read(tmp_path / 'grey.png')


def test_pipelines_take_what_a_source_has_in_memory(tmp_path):
    """A source of Pillow images, as many are, and one of arrays of five bands."""

    class Source:
        def __init__(self, img):
            self.img = img

        def __len__(self):
            return 1

        def get_data_info(self, index):
            return {'img': self.img, 'gt_label': 0}

    photo = Image.fromarray(data.astronaut()).convert('I;16')
    crop = {'type': 'DecodeRandomResizedCrop', 'size': 32}
    bands = {**crop, 'decode': {'type': 'DecodeImage', 'channels': 5}}
    flip = [{'type': 'RandomFlip'}, {'type': 'PackInputs'}]
    three = SeededDataset(Source(photo), [crop, *flip])[0]['inputs']
    five = SeededDataset(Source(np.zeros((40, 50, 5), np.uint8)), [bands, *flip])[0]['inputs']
    assert (three.shape, five.shape) == ((3, 32, 32), (5, 32, 32))
    photo.save(tmp_path / 'a.png')
    assert isinstance(DecodeRandomResizedCrop(32)({'img_path': str(tmp_path / 'a.png')}), dict)
    with pytest.raises(ValueError, match='the source gives neither `img` nor `img_path`'):
        DecodeImage()({'gt_label': 1})


def test_arrays_on_disk_that_are_no_pictures(tmp_path):
    path = tmp_path / 'a.npy'
    cases = {
        'no agreed white': np.zeros((4, 4), np.float32),
        r'array of object \(4,\) is no image': np.array([None] * 4),
        r'array of uint8 \(4,\) is no image': np.zeros(4, np.uint8),
        'over max_pixels=100': np.zeros((20, 30), np.uint8),
    }
    for message, array in cases.items():
        np.save(path, array, allow_pickle=True)
        with pytest.raises(DataError, match=message):
            by_path(DecodeImage(max_pixels=100), path)
    np.save(path, np.zeros((20, 30), np.uint8))
    content = path.read_bytes()
    header = content[:128].replace(b'(20, 30)', b'(9999, 9)').replace(b' \n', b'\n')
    for damaged in (content[:-1], content[:50], header + content[128:], content + b'x'):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r'a\.npy: cannot be decoded'):
            by_path(DecodeImage(), path)
    with pytest.raises(DataError, match=r"NPY is not among formats=\['JPEG'\]"):
        by_path(DecodeImage(formats=['JPEG']), path)


def test_arrays_of_a_folder_are_images_where_no_image_files_are(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((4, 4, 5), np.uint8))
    assert [name for name, _ in name_images(tmp_path)] == [str(tmp_path / 'a.npy')]
    Image.new('RGB', (4, 4)).save(tmp_path / 'b.png')
    assert [name for name, _ in name_images(tmp_path)] == [str(tmp_path / 'b.png')]


def test_an_address_is_handed_on_and_an_empty_path_is_refused(tmp_path, monkeypatch):
    assert list(name_images('s3://bucket/1.jpg')) == [('s3://bucket/1.jpg', 's3://bucket/1.jpg')]
    monkeypatch.chdir(tmp_path)
    Image.new('RGB', (8, 8)).save('1.png')
    assert len(list(name_images('.'))) == 1
    with pytest.raises(DataError, match=r'^a path is empty'):
        list(name_images(['.', '']))


@pytest.mark.parametrize('change', [lambda x: x.to('meta'), lambda x: x.to_sparse()])
def test_tensors_without_pixels(change):
    with pytest.raises(ValueError, match=r'^img must .* not torch\.s'):
        DecodeImage().convert(change(torch.zeros(3, 8, 8, dtype=torch.uint8)))
