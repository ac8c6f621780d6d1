"""RankMe against what its definition gives in closed form."""

import pytest
import torch

from mae.evaluation.effective_rank import rankme


@pytest.mark.parametrize('rank', [1, 3, 8])
def test_equal_singular_values_count_themselves(rank):
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0]
    features = left[:, :rank] @ right[:rank]  # (32, 8), with `rank` singular values of 1
    assert rankme(features) == pytest.approx(rank, rel=1e-4)


def test_it_does_not_depend_on_the_scale_and_lies_below_the_rank():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 7)
    value = rankme(features)
    assert rankme(1000 * features) == pytest.approx(value)
    assert 1 < value < 6


def test_of_zeros_it_is_finite():
    assert 0 < rankme(torch.zeros(4, 3)) < 2


@pytest.mark.parametrize(
    ('features', 'message'),
    [
        (torch.zeros(3), r'must be \(M, D\)'),
        (torch.zeros(0, 3), r'must be \(M, D\)'),
        (torch.full((2, 2), float('nan')), 'NaN or infinite'),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(features, message):
    with pytest.raises(ValueError, match=message):
        rankme(features)
