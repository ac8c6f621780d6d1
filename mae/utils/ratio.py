"""Shares of whole numbers without the rounding of floats, and numbers spread over a range.

1 - .8 of 100 is 20, in floats 19.
"""

from fractions import Fraction

_DENOMINATOR = 10**7


def exact(ratio: float) -> Fraction:
    """The fraction that a float stands for: 4/5 for .8, 2/3 for 2 / 3.

    Of the fractions that round to the float it is the one with the smallest denominator up to
    1e7; where there is none, the shortest decimal that does.

    Args:
        ratio: finite.
    """
    ratio = float(ratio)
    simple = Fraction(ratio).limit_denominator(_DENOMINATOR)
    return simple if float(simple) == ratio else Fraction(repr(ratio))


def evenly_spaced(number: int, count: int) -> list[int]:
    """At most `count` of the numbers 0..number - 1, the first and last among them, ascending."""
    count = min(count, number)
    step = (number - 1) / max(count - 1, 1)
    return [round(place * step) for place in range(count)]
