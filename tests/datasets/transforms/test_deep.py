"""16 bits from the file to the batch: every one of them, and the same picture as in 8."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from tifffile import imwrite
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from mae.datasets import SeededDataset, collate
from mae.datasets.transforms import (
    CenterCrop,
    ColorJitter,
    DecodeImage,
    DecodeRandomResizedCrop,
    PackInputs,
    PhotometricDistortion,
    RandAugment,
    RandomBlur,
    RandomFlip,
    RandomGray,
    RandomResizedCrop,
    RandomShift,
    ResizeShort,
)
from mae.datasets.transforms.geometry import resize_pixels
from mae.models.preprocessors import ImagePreprocessor
from mae.utils.errors import ConfigError, DataError
from mae.utils.seeding import seed_generators
from tests.image_bytes import encode, png16
from tests.own_images import noise

STD = [60.0, 50.0, 40.0]


def tiff(pixels, **options):
    stream = io.BytesIO()
    photometric = 'rgb' if pixels.ndim == 3 else 'minisblack'
    imwrite(stream, pixels, photometric=photometric, **options)
    return stream.getvalue()


def npy(pixels):
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


DEEP = noise(20, 30, 4, dtype=np.uint16)
RGB, GREY = DEEP[..., :3].copy(), DEEP[..., 0].copy()
FILES = {  # content and its pixels (H, W, C)
    'png': (png16(RGB), RGB),
    'png alpha': (png16(DEEP), RGB),
    'png grey': (png16(GREY[..., None]), GREY[..., None]),
    'png grey alpha': (png16(DEEP[..., :2]), GREY[..., None]),
    'tiff': (tiff(RGB), RGB),
    'tiff big-endian': (tiff(RGB, byteorder='>'), RGB),
    'tiff zlib': (tiff(RGB, compression='zlib', predictor=True, rowsperstrip=7), RGB),
    'tiff alpha': (tiff(DEEP, extrasamples=['unassalpha']), RGB),
    'tiff grey': (tiff(GREY), GREY[..., None]),
    'tiff grey big-endian': (tiff(GREY, byteorder='>'), GREY[..., None]),
    'npy': (npy(RGB), RGB),
    'npy big-endian': (npy(RGB.astype('>u2')), RGB),
    'npy grey': (npy(GREY), GREY[..., None]),
}


def array(img):
    return img.permute(1, 2, 0).numpy()


@pytest.mark.parametrize('name', FILES)
def test_files_keep_all_bits(name):
    content, pixels = FILES[name]
    img = DecodeImage(pixels.shape[2], bits=16).decode(content)
    assert img.dtype == torch.uint16
    assert np.array_equal(array(img), pixels)
    assert np.array_equal(array(DecodeImage(3, bits=16).decode(content)), pixels + 0 * RGB)
    assert np.array_equal(array(DecodeImage(pixels.shape[2]).decode(content)), pixels >> 8)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'BMP', 'GIF'])
@pytest.mark.parametrize('channels', [1, 3])
def test_8_bits_become_the_same_grey_levels(photo, kind, channels):
    content = encode(photo.crop((0, 0, 60, 40)), kind)
    deep, plain = (DecodeImage(channels, bits=bits).decode(content) for bits in (16, 8))
    assert np.array_equal(array(deep), 257 * array(plain).astype(int))


def test_images_in_memory_become_the_same_grey_levels():
    decode, plain = DecodeImage(bits=16), RGB.astype(np.uint8)
    tensor = torch.from_numpy(plain).permute(2, 0, 1)
    for image in (plain, tensor, Image.fromarray(plain)):
        assert np.array_equal(array(decode.convert(image)), 257 * plain.astype(int))
    assert np.array_equal(array(decode.convert(RGB)), RGB)
    assert decode.convert(torch.ones(3, 2, 2, dtype=torch.bool)).numpy().max() == 65535


def test_grey_of_colours_is_the_weighted_sum(photo):
    grey = array(DecodeImage(1, bits=16).decode(png16(RGB)))[..., 0]
    assert np.abs(grey - RGB @ np.array([0.299, 0.587, 0.114])).max() < 2
    colours = np.asarray(photo.crop((0, 0, 60, 40)))
    deep = array(DecodeImage(1, bits=16).decode(png16(257 * colours.astype(np.uint16))))
    plain = array(DecodeImage(1).decode(encode(Image.fromarray(colours), 'PNG')))
    assert np.abs(deep / 257 - plain).max() <= 0.51


def test_a_tiff_lies_upright():
    turned = tiff(RGB, extratags=[(274, 'H', 1, 6, True)])
    deep, plain = (DecodeImage(bits=bits).decode(turned) for bits in (16, 8))
    assert np.array_equal(array(deep) >> 8, array(plain))
    assert deep.shape == (3, 30, 20)


def test_a_png_lies_upright():
    exif = Image.Exif()
    exif[274] = 6
    body = b'eXIf' + exif.tobytes().removeprefix(b'Exif\0\0')
    chunk = struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body))
    content = png16(RGB)
    turned = content[:-12] + chunk + content[-12:]  # behind the pixels
    deep, plain = (DecodeImage(bits=bits).decode(turned) for bits in (16, 8))
    assert deep.shape == (3, 30, 20)
    assert np.array_equal(array(deep) >> 8, array(plain))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (tiff(RGB.transpose(2, 0, 1), planarconfig='separate'), 'a TIFF of 16 bits in planes'),
        (tiff(RGB)[:2000], 'its 16 bits cannot be read: damaged, or'),
        (tiff(RGB, compression='zlib')[:-500] + bytes(500), 'its 16 bits cannot be read: damaged'),
        (png16(RGB)[:-100], 'the PNG is truncated'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, capfd, content, reason):
    path = tmp_path / 'image'
    path.write_bytes(content)
    with pytest.raises(DataError, match=f'^{path}: cannot be decoded as an image: {reason}'):
        DecodeImage(bits=16)({'img_path': str(path)})
    assert capfd.readouterr().err == ''


def test_only_8_and_16_bits():
    with pytest.raises(ConfigError, match='bits must be 8 or 16, got 12'):
        DecodeImage(bits=12)


@pytest.mark.parametrize('size', [(7, 11), (50, 70)])
def test_resizing_stays_between_black_and_white(size):
    edges = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((12, 16), np.uint8))
    deep = DecodeImage(1, bits=16).convert(edges)
    resized = resize_pixels(deep, *size)
    assert resized.dtype == torch.uint16
    exact = interpolate(deep[None].double(), size, mode='bicubic', antialias=True)[0]
    assert exact.min() < -100  # which would have wrapped around
    assert (resized.double() - exact.clamp(0, 65535)).abs().max() <= 0.6


@pytest.mark.parametrize('name', ['png', 'tiff', 'npy', 'jpeg'])
def test_a_crop_of_a_file_is_that_of_its_pixels(tmp_path, photo, name):
    content = encode(photo.crop((0, 0, 60, 40))) if name == 'jpeg' else FILES[name][0]
    path = tmp_path / 'image'
    path.write_bytes(content)
    decode = {'type': 'DecodeImage', 'bits': 16}
    seed_generators(3)
    one = DecodeRandomResizedCrop(16, decode=decode)({'img_path': str(path)})['img']
    seed_generators(3)
    two = RandomResizedCrop(16)(DecodeImage(bits=16)({'img_path': str(path)}))['img']
    assert one.dtype == torch.uint16
    assert torch.equal(one, two)


class Files:
    """A source of a few 16-bit files."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return {'img_path': str(self.paths[index]), 'gt_label': index}


@pytest.fixture
def dataset(tmp_path):
    for seed in range(4):
        (tmp_path / f'{seed}.png').write_bytes(png16(noise(20, 30, 3, seed, np.uint16)))
    decode = {'type': 'DecodeImage', 'bits': 16}
    crop = {'type': 'DecodeRandomResizedCrop', 'size': 16, 'decode': decode}
    shift = {'type': 'RandomShift', 'pixels': 2, 'fill': 255}
    pipeline = [crop, {'type': 'RandomFlip'}, shift, {'type': 'PackInputs'}]
    return SeededDataset(Files(sorted(tmp_path.iterdir())), pipeline)


def test_workers_give_the_same_batch_with_all_bits(dataset):
    alone, worker = (
        next(iter(DataLoader(dataset, 4, num_workers=number, collate_fn=collate)))['inputs']
        for number in (0, 1)
    )
    assert alone.dtype == worker.dtype == torch.uint16
    assert torch.equal(alone, worker)
    assert alone.stride()[1] == 1  # the channels last in memory
    assert len(alone.unique()) > 2 * 256


def test_depths_are_not_mixed_in_a_batch(dataset):
    samples = [dataset[0], {**dataset[1], 'inputs': dataset[1]['inputs'].to(torch.uint8)}]
    with pytest.raises(DataError, match='images of one batch have 8 and 16 bits: begin '):
        collate(samples)


@pytest.mark.parametrize('size', [None, (8, 8)])
def test_the_preprocessor_takes_grey_levels_of_both(size):
    plain = torch.randint(255, (2, 3, 16, 16), dtype=torch.uint8)
    deep = (257 * plain.int()).to(torch.uint16)
    preprocessor = ImagePreprocessor([120.0, 110, 100], STD)
    if size:
        preprocessor.set_img_size((16, 16), size)
    one, two = (preprocessor({'inputs': images})['inputs'] for images in (plain, deep))
    assert one.dtype == torch.float32
    assert torch.equal(one, two)
    step = preprocessor({'inputs': (257 * plain.int() + 1).to(torch.uint16)})['inputs'] - two
    assert step.mean((0, 2, 3)).tolist() == pytest.approx([1 / 257 / s for s in STD], rel=0.01)


@pytest.mark.parametrize(
    'transform',
    [RandomFlip(1), RandomShift(2, fill=9), ResizeShort(12), CenterCrop(40), PackInputs()],
    ids=lambda transform: type(transform).__name__,
)
def test_moves_are_those_of_8_bits(transform):
    pixels = noise(20, 30, 3) // 2 + 64  # so that resizing does not leave 0..255
    moved = []
    for bits in (8, 16):
        seed_generators(1)
        result = transform({'img': DecodeImage(bits=bits).convert(pixels)})
        moved.append(result.get('img', result.get('inputs')))
    assert (moved[0].float() - moved[1].float() / 257).abs().max() <= 1.5
    assert [img.dtype for img in moved] == [torch.uint8, torch.uint16]


@pytest.mark.parametrize(
    'transform',
    [RandAugment(), ColorJitter(0.4), PhotometricDistortion(), RandomGray(), RandomBlur()],
    ids=lambda transform: type(transform).__name__,
)
def test_changes_of_colours_take_8_bits(transform):
    name = type(transform).__name__
    with pytest.raises(ConfigError, match=f'^{name} takes images of 8 bits, not of 16: leave it'):
        transform({'img': DecodeImage(bits=16).convert(RGB)})
