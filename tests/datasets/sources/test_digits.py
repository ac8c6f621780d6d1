import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mae.datasets import Digits
from mae.datasets.sources.digits import load_split
from mae.utils.errors import ConfigError


def images_of(digits):
    return torch.stack([digits.get_data_info(i)['img'] for i in range(len(digits))])


def labels_of(digits):
    return torch.tensor([digits.get_data_info(i)['gt_label'] for i in range(len(digits))])


def test_splits_hold_every_digit_once():
    train, val = Digits('train', img_size=8), Digits('val', img_size=8)
    assert (len(train), len(val)) == (1437, 360)
    pixels, labels = load_digits(return_X_y=True)
    original = sorted(
        (round(image.sum() * 255 / 16, -1), label)
        for image, label in zip(pixels, labels.tolist(), strict=True)
    )
    found = torch.cat([images_of(train), images_of(val)])
    sums = found.sum((1, 2, 3), dtype=torch.float64).tolist()
    both = torch.cat([labels_of(train), labels_of(val)]).tolist()
    differences = [
        abs(a[0] - b[0])
        for a, b in zip(sorted(zip(sums, both, strict=True)), original, strict=True)
    ]
    assert max(differences) <= 64  # half a level for each of the 64 pixels, and a rounding to 10


def test_splits_are_stratified():
    whole = torch.from_numpy(load_digits().target).bincount()
    share = labels_of(Digits('val')).bincount() / whole
    assert (share - 360 / 1797).abs().max() < 0.005


def test_images_are_enlarged_uint8():
    digits = Digits(img_size=16)
    images = images_of(digits)
    assert images.shape == (1437, 1, 16, 16)
    assert images.dtype == torch.uint8
    assert images.amax((1, 2, 3)).min() > 200
    small = images_of(Digits(img_size=8))
    for index in range(0, 1437, 100):
        plane = Image.fromarray(small[index, 0].float().numpy())  # mode F: clipped at the end
        large = np.asarray(plane.resize((16, 16), Image.Resampling.BICUBIC)).clip(0, 255)
        assert np.abs(images[index, 0].numpy() - large).max() <= 2
    assert digits.metainfo['classes'] == tuple('0123456789')


def test_labels_at_once():
    digits = Digits('val')
    assert digits.get_gt_labels() == labels_of(digits).tolist()


def test_unknown_split():
    with pytest.raises(ConfigError, match=r"split must .*'train' .*'val', .*'test'"):
        Digits('test')
    for wrong in (0, (16, 16)):
        with pytest.raises(ConfigError, match='img_size must be a positive number'):
            Digits(img_size=wrong)


def test_the_digits_are_read_once_and_stay_as_they_are():
    images, labels = load_split('val')
    before = images.clone()
    data = Digits('val', img_size=8)
    data.get_data_info(0)['img'].zero_()
    assert all(one is other for one, other in zip(load_split('val'), (images, labels), strict=True))
    assert torch.equal(images, before)
    assert Digits('val', img_size=8).get_data_info(0)['img'].any()
