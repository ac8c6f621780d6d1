import pytest
import torch

from mae.datasets.transforms import RandomFlip, RandomShift
from mae.utils.errors import ConfigError


def test_flip():
    img = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    flipped = RandomFlip(1.0)({'img': img})['img']
    assert torch.equal(flipped, img[..., [3, 2, 1, 0]])
    assert torch.equal(RandomFlip(0.0)({'img': img})['img'], img)
    drawn = sum(torch.equal(RandomFlip()({'img': img})['img'], flipped) for _ in range(1000))
    assert 435 <= drawn <= 565  # four standard deviations


def test_shift_draws_every_shift_alike():
    img = torch.zeros(1, 5, 7, dtype=torch.uint8)
    img[0, 2, 3] = 9
    counts = torch.zeros(5, 5)
    for _ in range(2500):
        moved = RandomShift(2)({'img': img})['img']
        assert moved.shape == img.shape
        assert moved.sum() == 9
        _, row, column = moved.nonzero()[0].tolist()
        counts[row, column - 1] += 1
    chi2 = ((counts - 100) ** 2 / 100).sum()
    assert chi2 < 51  # 24 degrees of freedom: p = .001


def test_shift_fills_the_border_and_keeps_the_rest():
    img = torch.randint(1, 200, (3, 6, 6), dtype=torch.uint8)
    whole = torch.nn.functional.pad(img, [8] * 4, value=255)
    windows = whole.unfold(1, 6, 1).unfold(2, 6, 1)
    for _ in range(50):
        moved = RandomShift(8, fill=255)({'img': img})['img']
        assert (windows == moved[:, None, None]).all(-1).all(-1).all(0).any()


@pytest.mark.parametrize(
    'make', [lambda: RandomFlip(2), lambda: RandomShift(0), lambda: RandomShift(1, fill=300)]
)
def test_wrong_arguments(make):
    with pytest.raises(ConfigError, match='must'):
        make()
