from fractions import Fraction

import numpy as np
import pytest

from mae.utils.ratio import evenly_spaced, exact


def test_decimals():
    for mille in range(1, 4000):
        assert exact(mille / 1000) == Fraction(mille, 1000) == Fraction(str(mille / 1000))


def test_quotients():
    """What weights of an MLP of that width say of its ratio gives the width back."""
    for dim in (7, 24, 100, 1152, 1408):
        for hidden in range(1, 6 * dim, 13):
            assert exact(hidden / dim) * dim == hidden


def test_a_long_decimal_stays_itself():
    assert exact(0.80000001) == Fraction('0.80000001')
    assert exact(0.1234567890123456) == Fraction('0.1234567890123456')


@pytest.mark.parametrize('kind', [int, Fraction, np.float64])
def test_other_numbers(kind):
    assert exact(kind(4)) == 4
    assert isinstance(exact(kind(4)), Fraction)


@pytest.mark.parametrize(('number', 'count'), [(1, 5), (5, 5), (7, 3), (1000, 192)])
def test_numbers_are_spread_over_all(number, count):
    found = evenly_spaced(number, count)
    assert (found[0], found[-1], len(found)) == (0, number - 1, min(number, count))
    assert found == sorted(set(found))
    gaps = np.diff(found)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_none_of_none():
    assert evenly_spaced(0, 5) == evenly_spaced(5, 0) == []
