import pytest
import torch

from mae.models.masking import RandomMasker


@pytest.mark.parametrize('ratio', [0, 1, -0.5, 75, 1.0])
def test_ratio_outside(ratio):
    with pytest.raises(
        ValueError, match=r'^masker.mask_ratio must lie between 0 and 1, not [^\n]*$'
    ):
        RandomMasker(ratio)


def test_ratio_that_leaves_nothing():
    message = r'^masker.mask_ratio=0.9 leaves 0 of 6 patches visible; at least one must be [^\n]*$'
    with pytest.raises(ValueError, match=message):
        RandomMasker(0.9)((2, 3), torch.arange(2))
    assert RandomMasker(0.01).num_keep(6) == 5  # rounded down, so one patch is hidden


@pytest.mark.parametrize('L', [4, 9, 16, 49, 64, 196, 256, 784])
@pytest.mark.parametrize('ratio', [0.25, 0.5, 0.6, 0.75, 0.8, 0.9])
def test_number_kept_is_the_authors(L, ratio):
    expected = int(L * (1 - ratio))
    if expected:
        assert RandomMasker(ratio).num_keep(L) == expected
