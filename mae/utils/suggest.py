"""The word that was meant: for error messages about names."""

from collections.abc import Collection
from difflib import SequenceMatcher


def nearest(word: str, known: Collection[str], limit: int = 1) -> list[str]:
    """The words of `known` that `word` may be a misspelling of, the likeliest first.

    Slips of the hand count first (a letter too many, missing, wrong or exchanged with its
    neighbour; case and separators count little), then the share of equal text.
    """
    ranked = sorted((_distance(word, other), other) for other in known)
    return [other for distance, other in ranked if distance < 1][:limit]


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


def is_slip(word: str, other: str) -> bool:
    """Whether one slip of the hand makes `other` of `word`."""
    return word != other and _slips(_plain(word), _plain(other)) <= 1


def _plain(word: str) -> str:
    return ''.join(letter for letter in word.lower() if letter.isalnum())


def _distance(word: str, other: str) -> float:
    """0 for the same word; 1 and more for words that have nothing to do with each other."""
    a, b = _plain(word), _plain(other)
    distance = _slips(a, b) / (1 + max(len(a), len(b)) / 2)
    if a and b and (a.startswith(b) or b.startswith(a)):
        distance = min(distance, 0.6)  # an abbreviation: `batch` for `batch_size`
    # Among equals: the letters of the word in another order, then the most text in common.
    unlike = (sorted(a) != sorted(b)) + 1 - SequenceMatcher(None, a, b).ratio()
    return distance + 0.01 * unlike + 0.01 * (word != other)


def _slips(a: str, b: str) -> int:
    """Optimal string alignment distance (Damerau 1964): edits and exchanges of neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            best = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, last[j - 2] + 1)
            row.append(best)
    return row[-1]
