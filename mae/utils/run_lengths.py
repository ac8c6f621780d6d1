"""Masks as COCO stores them: run lengths in printable characters.

The code is that of COCO's mask format (https://cocodataset.org/#format-results): lengths of runs
down the columns, beginning with zeros, each from the fourth on as the difference to the last but
one, in groups of five bits from the lowest; a sixth bit says that more follow. pycocotools is not
needed.

Shapes: H W pixels, R runs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST, _BITS = 48, 5  # of the characters; of a group
_MOST_GROUPS = 11  # more hold no 64 bits


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """dict(size [H, W], counts str) of a mask bool (H, W)."""
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist() if flat.size else [0]
    if flat.size and flat[0]:
        counts = [0, *counts]
    differences = [
        count - (counts[place - 2] if place > 2 else 0) for place, count in enumerate(counts)
    ]
    return {'size': list(mask.shape), 'counts': ''.join(map(_letters, differences))}


def decode_mask(code: Mapping[str, Any]) -> NDArray[np.bool_]:
    """bool (H, W) of what `encode_mask` gives.

    Raises:
        ValueError: the runs are not as many pixels as the size says, or see `run_lengths`.
    """
    height, width = code['size']
    runs = run_lengths(code['counts'])
    if runs.sum() != height * width:
        raise ValueError(f'the runs are {runs.sum()} pixels, the mask {height}x{width}')
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def run_lengths(counts: str | bytes) -> NDArray[np.int64]:
    """The lengths (R,) of the runs of a code.

    Raises:
        ValueError: it is cut off.
    """
    data = counts.encode() if isinstance(counts, str) else bytes(counts)
    groups = np.frombuffer(data, np.uint8).astype(np.int64) - _FIRST
    is_last = (groups & 32) == 0
    if not len(groups) or not is_last[-1]:
        raise ValueError('the counts of an encoded mask are cut off')
    ends = np.flatnonzero(is_last)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _MOST_GROUPS:
        raise ValueError('the counts of an encoded mask are no run lengths')
    starts = ends - lengths + 1
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & 31) << (_BITS * place), starts)
    values -= np.where(groups[ends] & 16, 1 << (_BITS * lengths), 0)  # the sign
    values[1::2], values[2::2] = values[1::2].cumsum(), values[2::2].cumsum()
    return values


def _letters(value: int) -> str:
    letters = ''
    while True:
        group = value & 31
        value >>= _BITS
        is_last = value == (-1 if group & 16 else 0)
        letters += chr(_FIRST + group + (0 if is_last else 32))
        if is_last:
            return letters
