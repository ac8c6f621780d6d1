"""Files that are whole or absent, whenever the process is killed; and what they hash to."""

import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mae.utils import strict_json

_WRITTEN_PIECE = 16 << 20  # bytes hashed and written at a time
_HOST = re.sub(r'[^\w.]', '_', socket.gethostname())
_TEMPORARY = re.compile(r'\..+\.(?P<host>[\w.]+)-(?P<pid>\d+)(-\d+)?\.tmp')
# What versions before 0.2 left behind when they were killed.
_OLDER_TEMPORARY = re.compile(r'\.last_checkpoint|\.\w+\.pth\.\w{8}')
_STALE_SECONDS = 3600.0  # for processes of other hosts, which cannot be checked
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def temporary_path(path: Path) -> Path:
    """Temporary name for `path`, different for each thread."""
    writer = f'{_HOST}-{os.getpid()}-{threading.get_native_id()}'
    return path.with_name(f'.{path.name}.{writer}.tmp')


def writer_of(path: Path) -> tuple[bool, int] | None:
    """Whether a temporary file is of this host, and its process id; None for any other file."""
    found = _TEMPORARY.fullmatch(path.name)
    return (found['host'] == _HOST, int(found['pid'])) if found else None


@contextmanager
def whole_file(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete.

    Args:
        path: an older file is replaced only when the new one is complete. A missing folder is
            created.
        flush: fsync before renaming, so that the file survives a power failure too.

    Raises:
        OSError: the disk refused; an older file of that name is untouched. Or `path` is a device
            or a pipe, which a new file would take the place of.
    """
    make_folder(path.parent)
    require_replaceable(path)
    temporary = temporary_path(path)
    try:
        with temporary.open('wb') as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        remove(temporary)
        _name(error, path, temporary)
        raise


def _name(error: BaseException, path: Path, temporary: Path) -> None:
    """Let an error of the disk name a file: a full one names none, and nobody knows temporaries."""
    if not isinstance(error, OSError) or error.errno is None:
        return
    if error.filename in (None, str(temporary)):
        error.filename = str(path)
        del error.filename2  # None would be shown


def require_replaceable(path: Path) -> None:
    """Refuse to write where a device or a pipe is, such as /dev/null.

    Raises:
        OSError: a file that is renamed to `path` would replace it, for all processes.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, 'not a regular file, which this would replace', str(path))


def make_folder(path: Path) -> None:
    """Create a folder and those above it, where they are not there.

    Raises:
        OSError: the disk refused, or a file has its name or that of one above it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        # "File exists" would not say that a folder is wanted.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def lowest_existing(path: Path) -> Path:
    """An absolute path, or the lowest place above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def require_writable(path: Path) -> None:
    """Refuse a place for a file before the work whose result it is for.

    Raises:
        OSError: it is a folder or a device, or may not be written.
    """
    require_replaceable(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    there = lowest_existing(path.absolute().parent)
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that gets its name when it is complete; until then it has the yielded one.

    Args:
        path: must not exist, or be an empty folder. A missing folder above it is created.

    Raises:
        OSError: the disk refused, or the folder is not empty; nothing is left behind.
    """
    make_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.name}.'))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write `value` as strict JSON, whole or not at all; see `strict_json` and `whole_file`."""
    with whole_file(path, flush=flush) as file:
        file.write((strict_json.dumps(value, indent=2) + '\n').encode())


# --- with a digest, and flushed with its name: for checkpoints --------------------------------


@dataclass(frozen=True)
class Digest:
    """Size in bytes and SHA-256 (hexadecimal) of a file's content."""

    size: int
    sha256: str


class HashedFile:
    """File for `torch.save` that hashes what it writes, in pieces, so that other threads can run.

    `close` leaves it open, for the `with` of `hashed_file`.

    After a first error it ignores all writes: torch's writer, which is C++, would replace the error
    with its own or abort the process.
    """

    def __init__(self, descriptor: int) -> None:
        self.error: BaseException | None = None
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: Any) -> int:
        """Write all of `data`, bytes or anything with a buffer."""
        with memoryview(data) as view:
            content = view.cast('B')
            if self.error is None:
                try:
                    for start in range(0, len(content), _WRITTEN_PIECE):
                        self._write_piece(content[start : start + _WRITTEN_PIECE])
                except BaseException as error:
                    self.error = error
            return len(content)

    def flush(self) -> None:
        """Nothing to do: there is no buffer."""

    def close(self) -> None:
        """Nothing to do, see above."""

    def tell(self) -> int:
        """Number of bytes written."""
        return self._size

    @property
    def digest(self) -> Digest:
        """Digest of what has been written."""
        return Digest(self._size, self._hash.hexdigest())

    def _write_piece(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self._size += len(piece)
        while piece:
            piece = piece[os.write(self._descriptor, piece) :]


def write_temporary(path: Path, write: Callable[[Any], None]) -> tuple[Path, Digest]:
    """Call `write` with a temporary file beside `path`, and flush it to the disk.

    Returns:
        The temporary file, to be renamed with `os.replace`, and its digest.

    Raises:
        OSError: the disk refused; the temporary file is gone.
    """
    temporary = temporary_path(path)
    try:
        with hashed_file(temporary) as file:
            write(file)
    except BaseException:
        remove(temporary)
        raise
    return temporary, file.digest


@contextmanager
def hashed_file(path: Path) -> Iterator[HashedFile]:
    """A new file that hashes what is written to it, and is flushed to the disk at the end.

    Raises:
        OSError: the disk refused; a part of the file may be there.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        file = HashedFile(descriptor)
        try:
            yield file
        except Exception as error:  # of what writes, which may hide that the disk refused
            raise file.error or error from None
        if file.error is not None:
            raise file.error
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    temporary = temporary_path(path)
    try:
        write_temporary(path, lambda file: file.write(text.encode()))
        os.replace(temporary, path)
    except BaseException as error:
        remove(temporary)
        _name(error, path, temporary)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def digest_of(path: Path) -> Digest:
    """Size and SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    from mae.utils.digest import file_digest  # with torch, which no command line waits for

    return Digest(path.stat().st_size, file_digest(path))


def is_still_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at `path`, neither removed nor replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Remove a file, without an error if that fails."""
    try:
        os.unlink(path)
    except OSError:
        return


def remove_tree(folder: Path) -> None:
    """Remove a folder and what is in it, under a temporary name, so that none sees a part of it.

    Raises:
        OSError: it cannot be renamed.
    """
    doomed = temporary_path(folder.with_name(f'{folder.name}.old'))
    os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_stale_temporaries(folder: Path) -> list[str]:
    """Remove the temporary files and folders of killed processes.

    Returns:
        Their names.
    """
    stale = [path for path in folder.glob('.*') if not path.is_symlink() and _is_stale(path)]
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            remove(path)
    return [path.name for path in stale]


def _is_stale(path: Path) -> bool:
    if _OLDER_TEMPORARY.fullmatch(path.name):
        return True
    found = writer_of(path)
    if found is None:
        return False
    is_here, pid = found
    if not is_here:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    return pid == os.getpid() or not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
