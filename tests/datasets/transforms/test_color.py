import random

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from mae.datasets.transforms import ColorJitter
from mae.utils.errors import ConfigError


def test_it_is_torchvisions(photo):
    img = pil_to_tensor(photo)
    for seed in range(3):
        torch.manual_seed(seed)
        found = ColorJitter(0.4, 0.4, 0.4, 0.1)({'img': img})['img']
        torch.manual_seed(seed)
        assert torch.equal(found, v2.ColorJitter(0.4, 0.4, 0.4, 0.1)(img))
        assert found.dtype == torch.uint8
        assert not torch.equal(found, img)


def test_some_images_are_left_as_they_are():
    img = torch.randint(0, 256, (3, 9, 11), dtype=torch.uint8)
    jitter = ColorJitter(0.8, prob=0.5)
    random.seed(0)
    changed = sum(not torch.equal(jitter({'img': img})['img'], img) for _ in range(200))
    assert 70 < changed < 130
    assert torch.equal(ColorJitter(0.8, prob=0.0)({'img': img})['img'], img)


def test_grey_images_stay_grey():
    img = torch.randint(0, 256, (1, 9, 11), dtype=torch.uint8)
    assert ColorJitter(0.4, 0.4, 0.4, 0.1)({'img': img})['img'].shape == img.shape


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'hue': 0.7}, r'^ColorJitter: .*hue'),
        ({'contrast': -1.0}, r'^ColorJitter: .*contrast'),
        ({'prob': 1.5}, r'^ColorJitter: prob must lie in \[0, 1\], got 1.5'),
    ],
)
def test_impossible_strengths(options, message):
    with pytest.raises(ConfigError, match=message):
        ColorJitter(**options)
