"""Paths and labels of millions of images in three arrays, which all workers share."""

import os
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.array_file import Arrays, read_arrays
from mae.utils.errors import DataError

_KINDS = {'names': np.uint8, 'ends': np.int64, 'labels': np.int32}


class PathIndex:
    """Paths in one array of bytes, so that no worker copies them.

    A list of strings would be copied into every worker page by page, because reading a string
    changes its reference count.

    Args:
        arrays: `names` uint8, all paths end to end; `ends` int64 (N + 1,), where each begins and
            ends; `labels` int32 (N,).
        file: that the arrays are mapped from; a worker that is not forked then opens it instead of
            receiving copies. None if they are in memory.

    Raises:
        DataError: the arrays do not fit together.
    """

    def __init__(self, arrays: Arrays, file: Path | None = None) -> None:
        try:
            self.names, self.ends, self.labels = (arrays[k] for k in ('names', 'ends', 'labels'))
        except KeyError as error:
            raise DataError(f'{file}: holds no {error.args[0]}') from error
        if any(arrays[name].dtype != kind for name, kind in _KINDS.items()):
            raise DataError(f'{file}: names, ends or labels are of other types')
        fits = len(self.ends) == len(self.labels) + 1 and self.ends[0] == 0
        if not fits or self.ends[-1] != len(self.names) or (self.ends[1:] < self.ends[:-1]).any():
            raise DataError(f'{file}: names, ends and labels do not fit together')
        self.file = file

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> str:
        """Path number `index`, from 0."""
        return os.fsdecode(self.names[self.ends[index] : self.ends[index + 1]].tobytes())

    @property
    def arrays(self) -> Arrays:
        """The arrays that the constructor takes."""
        return {'names': self.names, 'ends': self.ends, 'labels': self.labels}

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return PathIndex, (self.arrays,)
        return _reopen, (self.file, len(self), len(self.names))


def index_of(paths: Iterable[str], labels: Any) -> PathIndex:
    """The index of paths that are in memory already.

    Args:
        paths: N of them.
        labels: whole numbers (N,).
    """
    encoded = [os.fsencode(path) for path in paths]
    return _index(bytearray(b''.join(encoded)), list(map(len, encoded)), labels)


class IndexBuilder:
    """Collects paths and labels without keeping an object for each."""

    def __init__(self) -> None:
        self._names = bytearray()
        self._lengths = array('q')
        self._labels = array('i')

    def add(self, paths: Iterable[str], label: int) -> None:
        """Append paths of one label."""
        encoded = [os.fsencode(path) for path in paths]
        self._names += b''.join(encoded)
        self._lengths.extend(map(len, encoded))
        self._labels.extend([label] * len(encoded))

    def build(self) -> PathIndex:
        """The index of all that was added."""
        lengths: NDArray[np.int64] = np.frombuffer(self._lengths, np.int64)
        return _index(self._names, lengths, np.frombuffer(self._labels, np.int32))


def _index(paths: bytearray, lengths: Any, labels: Any) -> PathIndex:
    """The index of paths that stand end to end in `paths`, with the length of each."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    names: NDArray[np.uint8] = np.frombuffer(paths, np.uint8)
    return PathIndex({'names': names, 'ends': ends, 'labels': np.asarray(labels, np.int32)})


def _reopen(file: Path, count: int, size: int) -> PathIndex:
    index = PathIndex(read_arrays(file)[1], file)
    if (len(index), len(index.names)) != (count, size):
        raise DataError(f'{file}: was rebuilt while workers started: start again')
    return index
