"""Which folders and files below a folder count: one rule for everything that walks through data."""

import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmengine.logging import print_log

from mae.utils.errors import DataError
from mae.utils.text import printable

# Files and folders that systems and tools create; in lower case.
_SYSTEM = {
    '__macosx',  # archives of macOS
    'lost+found',  # ext file systems
    *('@eadir', '#recycle', '#snapshot', '@recycle', '@recently-snapshot', '~snapshot'),  # NAS
    *('$recycle.bin', 'system volume information', 'thumbs.db', 'ehthumbs.db', 'desktop.ini'),
}
Identity = tuple[int, int] | str


def is_hidden(name: str) -> bool:
    """Whether a name is that of a hidden file or folder, or of one that a system or tool creates.

    Such are `.git`, `.ipynb_checkpoints`, `._photo.jpg`, `@eaDir`, `__MACOSX`, `lost+found`.
    """
    return name.startswith('.') or name.lower() in _SYSTEM


def list_folder(path: str) -> tuple[list[str], list[str]]:
    """(names of the folders, names of all else) in a folder, sorted, without hidden ones.

    Links are followed; one that leads nowhere or to itself is no folder.

    Raises:
        DataError: it cannot be read; names it.
    """
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_hidden(entry.name):
                    (folders if _is_folder(entry) else files).append(entry.name)
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}') from error
    return sorted(folders), sorted(files)


def class_folders(folder: str) -> list[str]:
    """Names of the class folders in a folder, sorted; none if there is no such folder.

    A link to the folder itself, or to one that contains it, is no class.
    """
    if not os.path.isdir(folder):
        return []
    above, names, back = _above(folder), [], []
    for name in list_folder(folder)[0]:
        path = os.path.join(folder, name)
        # Only a link can lead back: the other classes need no further look.
        first = above.get(identity(os.stat(path), path)) if os.path.islink(path) else None
        if first is None:
            names.append(name)
        else:
            back.append((name, first))
    warn_of_twice(folder, back)
    return names


@dataclass(frozen=True)
class Folder:
    """A folder that a `Walk` came to.

    Attributes:
        path: relative to the walk's root; '' is the root itself.
        status: the folder's `os.stat`, taken before it was read.
        files: names of all that are no folders, sorted.
        same_as: None of a folder that is new. Else `files` is empty, and this is the path under
            which the walk has visited it, or that of the folder above that it leads back to.
    """

    path: str
    status: os.stat_result
    files: list[str] = field(default_factory=list)
    same_as: str | None = None


class Walk:
    """Walks through folders in depth, into each once, however many links and mounts lead there.

    Links to folders are followed. Those that lead back up, to a folder on the way or above the
    root, end there.

    Args:
        root: folder that the paths are relative to.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._seen = _above(root)

    def below(self, start: str = '') -> Iterator[Folder]:
        """All folders below `start` in the root and itself, parents first, in sorted order.

        Raises:
            DataError: a folder cannot be read; names it.
        """
        pending = [start]
        while pending:
            below = pending.pop()
            path = os.path.join(self.root, below)
            try:
                status = os.stat(path)
            except OSError as error:
                raise DataError(f'{path}: cannot be read: {error.strerror}') from error
            first = self._seen.setdefault(identity(status, path), below)
            if first != below:
                yield Folder(below, status, same_as=first)
                continue
            folders, files = list_folder(path)
            yield Folder(below, status, files)
            pending += [os.path.join(below, name) for name in reversed(folders)]


def warn_of_twice(root: str, twice: list[tuple[str, str]]) -> None:
    """Warn in one line of folders that were reached twice.

    Args:
        root: folder that the paths are relative to.
        twice: for each, its path and the one by which it was reached before.
    """
    if not twice:
        return
    path, before = twice[0]
    again, first = (os.path.normpath(os.path.join(root, each)) for each in twice[0])
    if before == '' or os.path.isabs(before) or path.startswith(f'{before}/'):
        text = f'{again} leads back to {first}, which holds it: it is not entered'
    else:
        text = f'{again} is the same folder as {first}: its files are counted once'
    more = f' (and {len(twice) - 1} more such folders)' if len(twice) > 1 else ''
    print_log(printable(text + more), 'current', logging.WARNING)


def identity(status: os.stat_result, path: str) -> Identity:
    """The same for two paths of one folder, and only then."""
    # Some network file systems number no files.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _above(root: str) -> dict[Identity, str]:
    """The root, as '', and all folders above it."""
    real = os.path.realpath(root)
    above: dict[Identity, str] = {}
    for path in (real, *_parents(real)):
        try:
            above.setdefault(identity(os.stat(path), path), '' if path == real else path)
        except OSError:  # it cannot be read, so no link leads to it either
            continue
    return above


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link to itself counts as a file: with an image's name, it is an unreadable image."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
