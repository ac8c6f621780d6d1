"""The word that was meant: for error messages about names."""

from collections.abc import Collection
from difflib import SequenceMatcher
from itertools import takewhile

_ALIKE = 0.5  # share of equal text from which two words are close


def nearest(word: str, known: Collection[str], limit: int = 1) -> list[str]:
    """The words of `known` that `word` may be a misspelling of, the likeliest first.

    A single typo counts most, then the share of equal text; case and separators count for
    little. An abbreviation is close too: `batch` for `batch_size`.
    """
    ranked = sorted((-_likeness(word, other), other) for other in known)
    return [other for likeness, other in ranked if likeness <= -_ALIKE][:limit]


def did_you_mean(word: str, known: Collection[str], prefix: str = '') -> str:
    """The end of an error message: the nearest name, or all of them if they are few.

    Args:
        word: the unknown name.
        known: all valid names.
        prefix: put before the suggested name, such as the config path it belongs to.
    """
    near = nearest(word, known)
    if near:
        return f'; did you mean {prefix}{near[0]}?'
    if 0 < len(known) <= 24:
        return f'; known: {", ".join(sorted(known))}'
    return ''


def is_typo(word: str, other: str) -> bool:
    """Whether one letter too many, missing or wrong, or two exchanged, make `word` of `other`."""
    return word != other and _is_typo(_plain(word), _plain(other))


def _likeness(word: str, other: str) -> float:
    a, b = _plain(word), _plain(other)
    alike = SequenceMatcher(None, a, b).ratio()
    if a and b and (a.startswith(b) or b.startswith(a)):
        alike = max(alike, _ALIKE)
    return alike + _is_typo(a, b) + 0.01 * (word == other)


def _is_typo(a: str, b: str) -> bool:
    """Whether what differs between the common start and end is one letter, or two exchanged."""
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    a, b = a[start:], b[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b or b[1:] == a


def _plain(word: str) -> str:
    return ''.join(letter for letter in word.lower() if letter.isalnum())
