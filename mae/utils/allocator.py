"""Whether memory that a process frees stays with it (glibc; see mallopt(3)).

A training step on a CPU frees and takes the same gigabytes again and again. By default glibc gives
large blocks back to the kernel, which returns them as new, zeroed pages: up to a third of a step,
and more on a virtual machine whose host takes them too.
"""

import ctypes
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_MIB = 2**20
# Never trim the heap, let it grow in large pieces, and put large blocks there too.
_KEEP = {_TRIM_THRESHOLD: -1, _TOP_PAD: 64 * _MIB, _MMAP_MAX: 0}
# Where glibc's own thresholds end that move with what is freed, and its other defaults.
_RETURN = {
    _TRIM_THRESHOLD: 64 * _MIB,
    _TOP_PAD: 128 * 1024,
    _MMAP_THRESHOLD: 32 * _MIB,
    _MMAP_MAX: 65536,
}


def keep_freed_memory() -> bool:
    """Keep what is freed for the next use, so that a process stays as large as it ever was.

    Returns:
        Whether the allocator took it; False without glibc.
    """
    return _set(_KEEP)


def return_freed_memory() -> bool:
    """Give large blocks back, as glibc does by itself: for a process forked from one that keeps.

    Returns:
        As `keep_freed_memory`.
    """
    return _set(_RETURN)


def _set(options: Mapping[int, int]) -> bool:
    if sys.platform != 'linux':
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and all(mallopt(*option) for option in options.items())
