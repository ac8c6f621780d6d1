"""Numbers in words, for lines that people read."""

from collections.abc import Sequence

import numpy as np


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever gives a number that is easy to read."""
    if seconds < 120:
        return f'{seconds:.0f} seconds'
    if seconds < 2 * 3600:
        return f'{seconds / 60:.0f} minutes'
    return f'{seconds / 3600:,.1f} hours'


def listed(values: Sequence[float] | np.ndarray) -> str:
    """Numbers with commas between, of four digits."""
    return ', '.join(f'{float(value):.4g}' for value in np.atleast_1d(values))
