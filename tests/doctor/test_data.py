"""What a look at images finds, and what it leaves alone."""

import numpy as np
import pytest
from PIL import Image

from mae.datasets import ImageFolder
from mae.datasets.transforms import DecodeImage
from mae.doctor.data import (
    decode_sample,
    judge_flat,
    judge_statistics,
    judge_unreadable,
    statistics,
)
from tests.own_images import noise, save

IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


def names(findings):
    return [finding.name for finding in findings]


@pytest.mark.parametrize(
    ('mean', 'std', 'is_wrong'),
    [
        ([123, 116, 103], [58, 57, 57], False),
        ([140, 130, 90], [70, 70, 80], False),  # photographs of one kind
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], True),  # of 0..1
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], True),
        ([0.0, 0.0, 0.0], [58, 57, 57], True),
        ([123, 116, 103], [140, 57, 57], True),
        ([127.5], [57.0], False),  # one number for all channels
    ],
)
def test_mean_and_deviation(mean, std, is_wrong):
    found = judge_statistics(*IMAGENET, mean, std)
    assert names(found) == ['wrong_mean'] * is_wrong


def test_statistics_are_those_of_all_pixels(tmp_path):
    pixels = [noise(20, 24, seed=seed) for seed in range(4)]
    for number, each in enumerate(pixels):
        save(tmp_path / f'{number}.png', each)
    images, unreadable = decode_sample(ImageFolder(str(tmp_path), labelled=False), DecodeImage())
    assert unreadable == []
    mean, std = statistics(images)
    flat = np.stack(pixels).reshape(-1, 3)
    assert mean == pytest.approx(flat.mean(0), abs=0.06)
    assert std == pytest.approx(flat.std(0), abs=0.06)


def test_dark_images_of_16_bits_keep_their_fractions(tmp_path):
    pixels = [noise(20, 24, 1, seed, np.uint16) >> 7 for seed in range(4)]  # 0 to 2 of 255
    for number, each in enumerate(pixels):
        save(tmp_path / f'{number}.png', each)
    images, _ = decode_sample(ImageFolder(str(tmp_path), labelled=False), DecodeImage(1, bits=16))
    mean, std = statistics(images)
    assert mean == pytest.approx([np.stack(pixels).mean() / 257], rel=1e-3)
    assert std == pytest.approx([np.stack(pixels).std() / 257], rel=1e-3)
    assert not judge_flat(images)


def test_flat_and_unreadable_images(tmp_path):
    for number in range(10):
        save(tmp_path / f'{number}.png', noise(20, 24, seed=number))
    save(tmp_path / 'flat.png', np.full((20, 24, 3), 7, np.uint8))
    (tmp_path / 'broken.jpg').write_bytes(b'nothing')
    images, unreadable = decode_sample(ImageFolder(str(tmp_path), labelled=False), DecodeImage())
    (found,) = judge_flat(images)
    assert (found.name, 'flat.png' in found.what) == ('constant_images', True)
    assert judge_flat(images[:3]) == []
    (found,) = judge_unreadable(unreadable, 12, 0.001)
    assert found.name == 'unreadable_images'
    assert 'broken.jpg' in found.what
    assert names(judge_unreadable(unreadable * 2, 12, 0.001)) == ['too_many_unreadable']
    assert names(judge_unreadable(unreadable * 2, 12, 0.5)) == ['unreadable_images']


def test_images_of_16_bits_are_looked_at_with_all_of_them(tmp_path):
    """A camera of 12 bits leaves the upper 8 nearly black."""
    levels = np.random.default_rng(0).integers(0, 4096, (4, 20, 24)).astype(np.uint16)
    for number, each in enumerate(levels):
        Image.fromarray(each).save(tmp_path / f'{number}.png')
    Image.fromarray(np.full((20, 24), 4000, np.uint16)).save(tmp_path / 'flat.png')
    source = ImageFolder(str(tmp_path), labelled=False)
    images, _ = decode_sample(source, DecodeImage(1, bits=16))
    assert [image.is_flat for image in images] == [False] * 4 + [True]
    mean, std = statistics(images[:4])
    assert mean == pytest.approx([levels.mean() / 257], abs=1e-4)
    assert std == pytest.approx([levels.std() / 257], abs=1e-4)
