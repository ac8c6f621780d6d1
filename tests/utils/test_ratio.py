from fractions import Fraction

import numpy as np
import pytest

from mae.utils.ratio import exact


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
