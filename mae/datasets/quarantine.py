"""Images excluded from a dataset by name: what `tools/data/verify.py` found unreadable."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mae.utils.errors import DataError
from mae.utils.files import whole_file
from mae.utils.text import BLANKS, printable, read_lines


def read_quarantine(path: str | Path) -> set[str]:
    """The paths of a list: a line is a JSON object with `path`, or a path; `#` begins a comment.

    A `bad_samples.jsonl` of a run is such a list too.

    Raises:
        DataError: there is no such file, a line of it is neither, or it is in an encoding that
            `mae.utils.text.read_lines` does not read.
    """
    if not Path(path).is_file():
        raise DataError(f'{path}: no such quarantine list; tools/data/verify.py writes one')
    paths = set()
    for number, line in read_lines(Path(path)):
        line = line.strip(BLANKS)
        if line.startswith('{'):
            try:
                line = os.fspath(json.loads(line)['path'])
            except (ValueError, KeyError, TypeError):
                raise DataError(f'{path}:{number}: expected {{"path": ...}}, got {line}') from None
        if line and not line.startswith('#'):
            paths.add(os.path.normpath(line))
    return paths


def write_quarantine(path: str | Path, entries: Iterable[tuple[str, str]]) -> None:
    """Write (path, reason) a line, whole or not at all.

    Raises:
        OSError: it cannot be written; an older file of that name is untouched.
    """
    with whole_file(Path(path)) as file:
        for name, reason in entries:
            file.write((json.dumps({'path': name, 'reason': reason}) + '\n').encode())


class Quarantined:
    """A source without the images of a list.

    An image is excluded if its path, from any folder that contains all images, is in the list:
    one made in `data/imagenet` and one made in `data/imagenet/train` both work.

    Attributes:
        left_out: indices in the source of the excluded images.

    Args:
        source: a dataset with `get_data_info`.
        path: a list file, see `read_quarantine`.

    Raises:
        DataError: the list cannot be read, or excludes every image.
    """

    def __init__(self, source: Any, path: str | Path) -> None:
        listed = read_quarantine(path)
        names = [source.get_data_info(index).get('img_path') for index in range(len(source))]
        out = _listed(names, listed) if listed else np.zeros(len(names), bool)
        self.source = source
        self._indices = np.flatnonzero(~out)
        self.left_out: list[int] = np.flatnonzero(out).tolist()
        message = f'{path}: {out.sum()} of {len(out)} samples left out, {len(listed)} listed'
        print_log(printable(message), 'current')
        if not len(self._indices):
            raise DataError(f'{path}: leaves none of the {len(out)} samples')

    @property
    def metainfo(self) -> dict[str, Any]:
        """`metainfo` of the source."""
        return dict(getattr(self.source, 'metainfo', {}))

    @property
    def folder(self) -> str:
        """Root folder of the source, if it has one."""
        folder: str = self.source.folder
        return folder

    def get_gt_labels(self) -> Any:
        """Labels of the remaining images, if the source has `get_gt_labels`."""
        return np.asarray(self.source.get_gt_labels())[self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Path and label of a remaining image, as the source gives them."""
        info: dict[str, Any] = self.source.get_data_info(int(self._indices[index]))
        return info


def _listed(names: list[str | None], listed: set[str]) -> Any:
    """Whether each image is in the list, bool (N,)."""
    paths = [os.path.abspath(name) if name else '' for name in names]
    known = [path for path in paths if path]
    # What the first and the last in alphabetical order have in common, all have.
    ends = [os.path.dirname(path) for path in (min(known), max(known))] if known else ['']
    base = os.path.commonpath(ends)
    starts = [0, *(place + 1 for place, letter in enumerate(f'{base}/') if letter == '/')]
    return np.array([bool(p) and any(p[start:] in listed for start in starts) for p in paths])
