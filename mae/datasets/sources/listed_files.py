"""Which of the files that a list names exist: each folder is read once, no file is looked at."""

import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.index_cache import Stamp, stamp
from mae.datasets.sources.path_index import PathIndex
from mae.utils.errors import DataError

MOST_NAMED = 10  # missing files in a message
MOST_TRIED = 200  # paths of a list, to find the folder that they are relative to


def existing(index: PathIndex, prefix: str) -> tuple[NDArray[np.bool_], dict[str, Stamp]]:
    """Which paths are there, and the stamp of each folder that holds one, taken before reading.

    A query for every file would take minutes with a million of them on a network disk.

    Args:
        prefix: what the paths begin with on the disk, such as 'data/'; absolute ones are complete.
    """
    names, ends, start = index.names.tobytes(), index.ends.tolist(), os.fsencode(prefix)
    numbers: dict[bytes, int] = {}  # of each folder, which ends in a slash
    of_path = np.empty(len(index), np.int32)
    for n in range(len(index)):
        folder = names[ends[n] : names.rfind(b'/', ends[n], ends[n + 1]) + 1]
        of_path[n] = numbers.setdefault(folder, len(numbers))
    order = np.argsort(of_path, kind='stable')  # one folder's names in memory at a time
    exists = np.zeros(len(index), bool)
    stamps: dict[str, Stamp] = {}
    for folder, inside in zip(numbers, np.split(order, _stops(of_path[order])), strict=True):
        whole = _joined(start, folder)
        place, _, begin = whole.rpartition(
            b'/'
        )  # of the prefix 'car/car.' a name begins with 'car.'
        place = place or (b'/' if whole.startswith(b'/') else b'.')
        try:
            stamps[os.fsdecode(folder).rstrip('/')] = stamp(os.stat(place))
            present = frozenset(os.listdir(place))
        except OSError:
            continue
        skip = len(folder)
        found = [begin + names[ends[n] + skip : ends[n + 1]] in present for n in inside.tolist()]
        exists[inside] = found
    return exists, stamps


def require_files(index: PathIndex, folder: str, list_file: object) -> dict[str, Stamp]:
    """The stamps of the folders of `existing`, if all files are there.

    Args:
        folder: that the paths are below.
        list_file: that names them, for the message.

    Raises:
        DataError: files are missing; says how many, and names the first ten.
    """
    exists, stamps = existing(index, os.path.join(folder, ''))
    if exists.all():
        return stamps
    lost = np.flatnonzero(~exists)
    named = [index.path(int(number)) for number in lost[:MOST_NAMED]]
    cure = '; write its folders with /, not \\' if '\\' in named[0] else ''
    files = f'{len(lost)} of the {len(index)} files of {list_file} do not exist'
    raise DataError(f'{files} below {folder}: {some_of(named, len(lost))}{cure}')


def some_of(named: Iterable[str], count: int) -> str:
    """'a.jpg, b.jpg, ...': the first ten of `count` names."""
    shown = [name for _, name in zip(range(MOST_NAMED), named, strict=False)]
    return ', '.join(shown) + ', ...' * (count > len(shown))


def first_prefix(prefixes: Iterable[str], paths: Iterable[str]) -> str | None:
    """The first prefix with which one of the first 200 paths is a file; None without any."""
    tried = [path for _, path in zip(range(MOST_TRIED), paths, strict=False)]
    for prefix in prefixes:
        if any(os.path.isfile(prefix + path) for path in tried):
            return prefix
    return None


def _stops(numbers: NDArray[np.int32]) -> NDArray[np.intp]:
    """Where each number but the last ends, in an array in which equal ones are neighbours."""
    return np.flatnonzero(np.diff(numbers)) + 1


def _joined(prefix: bytes, path: bytes) -> bytes:
    return path if path.startswith(b'/') else prefix + path
