"""The result of a scan of the disk, kept in a file, so that the next start need not scan.

Kept beside the data if that folder can be written to, else in `index` of MAE_HOME, see
`mae.utils.cache_dir`. A file that is damaged, of another folder or query, or older than a change
of the folders it lists is replaced.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mae.datasets.sources.array_file import read_arrays, write_arrays
from mae.datasets.sources.path_index import PathIndex
from mae.utils.cache_dir import cache_dir
from mae.utils.errors import DataError
from mae.utils.text import printable

Stamp = list[int]

# With fewer images a scan is so fast that its result is not worth a file.
WORTH_KEEPING = 10_000
# Resolution of file systems' times: a change so soon after another may not alter the time.
SETTLING_SECONDS = 2.0
# Version of the rules by which a scan finds images. It goes up when they change, so that indexes
# made by older rules are rebuilt. 2: hidden and system files and folders are excluded, and a folder
# that is reached twice is counted once. 3: every file of a list or JSON file must exist.
RULES = 3


@dataclass(frozen=True)
class ScanResult:
    """A scan's result.

    Attributes:
        index: paths relative to the folder, and labels.
        classes: names in the order of the labels.
        stamps: by path relative to the folder, the stamp of each folder and list file that was
            read, taken before reading.
    """

    index: PathIndex
    classes: tuple[str, ...]
    stamps: dict[str, Stamp]


def cached_scan(
    folder: str, query: Mapping[str, Any], scan: Callable[[], ScanResult]
) -> ScanResult:
    """The result of `scan`, from a file if an earlier start wrote one that is still valid.

    Args:
        folder: root of the images.
        query: all else that the result depends on, as JSON values.
        scan: reads the disk. Only one process of a machine does at a time; the others wait for
            its file.
    """
    query = json.loads(json.dumps(query))
    files = _places(Path(os.path.realpath(folder)), query)
    if (found := _first(files, folder, query, report=True)) is not None:
        return found
    with _scan_lock(folder) as waited:
        if waited and (found := _first(files, folder, query, report=False)) is not None:
            return found
        started = time.time()
        found = scan()
        seconds = time.time() - started
        return _write(found, files, folder, query, started, f'{seconds:.1f} s')


def stamp(status: os.stat_result) -> Stamp:
    """Changes whenever something is added to a folder, removed or renamed, or a file is written.

    ctime is in it because, unlike mtime, no tool that copies data can set it back.
    """
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_nlink]


def _places(folder: Path, query: Mapping[str, Any]) -> list[Path]:
    """The files in which the index may be, the preferred one first."""
    text = json.dumps(query, sort_keys=True)
    return [
        folder.parent / '.mae_index' / f'{folder.name}-{_digest(text)}.idx',
        Path(cache_dir(), 'index', f'{folder.name}-{_digest(text, str(folder))}.idx'),
    ]


def _digest(*parts: str) -> str:
    return hashlib.sha256(os.fsencode('\0'.join(parts))).hexdigest()[:16]


def _first(
    files: list[Path], folder: str, query: Mapping[str, Any], *, report: bool
) -> ScanResult | None:
    for file in files:
        try:
            return _open(file, folder, query)
        except FileNotFoundError:
            continue
        except (DataError, OSError, ValueError, LookupError, TypeError) as error:
            if report:
                reason = str(error).removeprefix(f'{file}: ')
                _log(f'index {file} is not used, but rebuilt: {reason}')
    return None


def _open(file: Path, folder: str, query: Mapping[str, Any]) -> ScanResult:
    """Read the index.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not a valid index for this query; says why.
    """
    meta, arrays = read_arrays(file)
    if meta.get('rules') != RULES:
        raise DataError('it was made by other rules of what is an image')
    if meta['asked'] != query:
        raise DataError('it is of other classes, extensions or lists')
    stamps, classes = meta['stamps'], meta['classes']
    if not (isinstance(stamps, dict) and stamps and isinstance(classes, list)):
        raise DataError('it names no folders or no classes')
    index = PathIndex(arrays, file)
    if not (len(index) and -1 <= index.labels.min() <= index.labels.max() < (len(classes) or 1)):
        raise DataError('it holds no images, or labels of other classes')
    for path, then in stamps.items():
        try:
            now = stamp(os.stat(os.path.join(folder, path)))
        except OSError:
            now = []
        if now != then:
            changed = os.path.normpath(os.path.join(folder, path))
            raise DataError(f'{changed} has changed since')
    return ScanResult(index, tuple(classes), stamps)


def _write(
    found: ScanResult,
    files: list[Path],
    folder: str,
    query: Mapping[str, Any],
    started: float,
    duration: str,
) -> ScanResult:
    """Write the index, if a later start can use it, and return its content."""
    if len(found.index) < WORTH_KEEPING:
        return found
    message = f'{folder}: {len(found.index)} images found in {duration}'
    newest = max(max(times[:2]) for times in found.stamps.values()) / 1e9
    if newest > started - SETTLING_SECONDS:
        _log(f'{message}; not kept, as a folder changed just now')
        return found
    meta = {'rules': RULES, 'asked': query, 'classes': found.classes, 'stamps': found.stamps}
    refusals = []
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(file, meta, found.index.arrays)
            kept = _open(file, folder, query)
        except (OSError, DataError) as error:  # full, read-only, or changed meanwhile
            refusals.append(f'{file.parent}: {getattr(error, "strerror", None) or error}')
            continue
        _log(f'{message}, kept in {file}')
        return kept
    _log(f'{message}; not kept: {"; ".join(refusals)}')
    return found


def _log(line: str) -> None:
    print_log(printable(line), logger='current')


@contextmanager
def _scan_lock(folder: str) -> Iterator[bool]:
    """Lets one process scan at a time; yields whether another one scanned while this one waited.

    The lock is on the folder itself and ends with the process. If the file system has no locks,
    each process scans for itself.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _wait(descriptor)
    finally:
        os.close(descriptor)


def _wait(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # all waiting processes continue together
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
    except OSError:
        return False
    return False
