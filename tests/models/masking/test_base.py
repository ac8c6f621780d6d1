import pytest
import torch

from mae.models.masking import RandomMasker
from mae.models.masking.base import Masker


@pytest.mark.parametrize('ratio', [0, 1, -0.5, 75, 1.0])
def test_ratio_outside(ratio):
    with pytest.raises(
        ValueError, match=r'^masker.mask_ratio must lie between 0 and 1, not [^\n]*$'
    ):
        RandomMasker(ratio)


@pytest.mark.parametrize(
    ('score', 'found'),
    [
        (lambda *_: torch.rand(2, 5), r'\(2, 5\)'),  # the last patch would never be hidden
        (lambda *_: torch.rand(6), r'\(6,\)'),
        (lambda *_: torch.rand(1, 6), r'\(1, 6\)'),
        (lambda *_: None, 'a NoneType'),
    ],
)
def test_scores_of_ones_own_are_of_every_patch_and_image(score, found):
    own = type('Own', (Masker,), {'score': score})
    message = rf'^Own.score must be .* \(2, 6\), not {found}$'
    with pytest.raises(ValueError, match=message):
        own(0.5)((2, 3), torch.arange(2))


def test_ratio_that_leaves_nothing():
    message = r'^masker.mask_ratio=0.9 leaves 0 of 6 patches [^\n]*$'
    with pytest.raises(ValueError, match=message):
        RandomMasker(0.9)((2, 3), torch.arange(2))
    assert RandomMasker(0.01).num_keep(6) == 5  # rounded down, so one patch is hidden


@pytest.mark.parametrize(
    ('L', 'ratio'),
    [(100, 0.8), (100, 0.9), (400, 0.8), (225, 0.8), (25, 0.8), (10, 0.9), (6, 5 / 6)],
)
def test_number_kept_is_exact(L, ratio):
    """Where 1 - mask_ratio in floats falls just short: 19 of 100, none of 10."""
    exact = L - round(L * ratio)
    assert int(L * (1 - ratio)) == exact - 1
    masker = RandomMasker(ratio)
    assert masker.num_keep(L) == exact
    assert masker((1, L), torch.arange(2)).ids_keep.shape == (2, exact)


def test_numbers_for_all_ratios():
    for percent in range(1, 100):
        for L in (10, 25, 100, 196, 225, 400):
            kept = L * (100 - percent) // 100
            if 0 < kept < L:
                assert RandomMasker(percent / 100).num_keep(L) == kept, (percent, L)


@pytest.mark.parametrize(('predict_ratio', 'L', 'expected'), [(0.15, 90, 14), (1 / 3, 6, 2)])
def test_number_predicted(predict_ratio, L, expected):
    masker = RandomMasker(0.75, predict_ratio=predict_ratio)
    assert masker((1, L), torch.arange(2)).ids_predict.shape == (2, expected)


@pytest.mark.parametrize('ratio', [0.25, 0.5, 0.6, 0.75, 0.8, 0.9])
def test_number_kept_is_the_authors(ratio):
    for L in (4, 9, 16, 49, 64, 196, 256, 784):
        expected = int(L * (1 - ratio))
        if expected:
            assert RandomMasker(ratio).num_keep(L) == expected
