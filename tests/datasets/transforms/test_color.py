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


def test_grey_images_stay_grey():
    img = torch.randint(0, 256, (1, 9, 11), dtype=torch.uint8)
    assert ColorJitter(0.4, 0.4, 0.4, 0.1)({'img': img})['img'].shape == img.shape


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'hue': 0.7}, r'^ColorJitter: .*hue'), ({'contrast': -1.0}, r'^ColorJitter: .*contrast')],
)
def test_impossible_strengths(options, message):
    with pytest.raises(ConfigError, match=message):
        ColorJitter(**options)
