import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from timm.data.auto_augment import RandAugment as Timm
from torchvision.transforms.functional import pil_to_tensor

from mae.datasets.transforms import RandAugment
from mae.utils.errors import ConfigError

POLICY = 'rand-m9-mstd0.5-inc1'


def posterize_before_13(image, bits):
    """Pillow's operation when it still took 0 bits, which timm relies on."""
    mask = ~(2 ** (8 - bits) - 1)
    return image.point([level & mask for level in range(256)] * 3)


@pytest.mark.parametrize('size', [224, 64])
def test_it_is_what_timms_recipe_does(photo, size, monkeypatch):
    """The object out of timm's own training transform, with the arguments of MAE's recipe."""
    monkeypatch.setattr(ImageOps, 'posterize', posterize_before_13)
    recipe = create_transform(
        size, is_training=True, auto_augment=POLICY, interpolation='bicubic', re_prob=0.25
    )
    (timm,) = [transform for transform in recipe.transforms if isinstance(transform, Timm)]
    image = photo.resize((size, size))
    ours = RandAugment(POLICY)
    changed = 0
    for seed in range(30):
        random.seed(seed)
        np.random.seed(seed)
        expected = pil_to_tensor(timm(image))
        random.seed(seed)
        np.random.seed(seed)
        found = ours({'img': pil_to_tensor(image)})['img']
        assert torch.equal(found, expected)
        changed += not torch.equal(found, pil_to_tensor(image))
    assert changed > 15


def test_posterize_of_no_bits_is_black_and_no_error():
    transform = RandAugment('rand-m10-n1-p1-inc1')
    (posterize,) = [op for op in transform._build(32).ops if op.name == 'PosterizeIncreasing']
    assert np.asarray(posterize(Image.new('RGB', (4, 4), (255, 90, 17)))).max() == 0


def test_grey_images_stay_grey(photo):
    img = pil_to_tensor(photo.convert('L').resize((32, 32)))
    transform = RandAugment()
    found = [transform({'img': img})['img'] for _ in range(20)]
    assert {(tuple(f.shape), f.dtype) for f in found} == {((1, 32, 32), torch.uint8)}
    assert not all(torch.equal(f, img) for f in found)


@pytest.mark.parametrize('policy', ['augmix-m5', 'rand-q9', 'rand-mfoo3-tnone'])
def test_wrong_policies(policy):
    with pytest.raises(ConfigError, match=policy):
        RandAugment(policy)
