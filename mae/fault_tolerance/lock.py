"""A lock on a folder, which the system releases when its process ends, however that ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mae.utils.errors import ConfigError
from mae.utils.files import is_still_at

NAME = '.lock'
_ORPHANS = 10.0  # seconds to wait for child processes of a killed holder
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_held: set[int] = set()  # descriptors that a forked child, such as a data worker, closes


def _close_in_child() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def folder_lock(folder: Path, holder: str = 'a run', *, inherited: bool = False) -> Iterator[None]:
    """Lock the folder; the system releases it when the process ends, killed or not.

    On a file system without locks (some NFS mounts) there is only a warning.

    Args:
        folder: created if it is missing.
        holder: for the error in a second process.
        inherited: child processes keep the lock until the last of them ends.

    Raises:
        ConfigError: another process has locked it; names the host and the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder / NAME)
    if descriptor is None:
        yield
        return
    os.set_inheritable(descriptor, inherited)
    if not inherited:
        _held.add(descriptor)
    text = json.dumps({'holder': holder, 'host': socket.gethostname(), 'pid': os.getpid()})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
    try:
        yield
    finally:
        _held.discard(descriptor)
        with contextlib.suppress(OSError):  # closed in a forked child
            os.close(descriptor)


def _acquire(path: Path) -> int | None:
    """The locked file, or None where locks do not work."""
    deadline = time.monotonic() + _ORPHANS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _read(descriptor)
            os.close(descriptor)
            if not _is_dead(found) or time.monotonic() > deadline:
                raise ConfigError(_refusal(path.parent, found)) from None
            time.sleep(0.1)
            continue
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _UNSUPPORTED:
                raise
            warnings.warn(
                f'{path}: the file system knows no locks ({error.strerror}); see to it that no '
                'second run writes there',
                stacklevel=4,
            )
            return None
        if is_still_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # its holder has removed the file meanwhile


def _read(descriptor: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_dead(holder: dict[str, object]) -> bool:
    """Whether the holder ran on this host and has ended, while a child still has the lock."""
    pid = holder.get('pid')
    if not isinstance(pid, int) or holder.get('host') != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _refusal(folder: Path, found: dict[str, object]) -> str:
    who = found.get('holder', 'another process')
    if not found:
        return f'{folder}: another process is at work there; choose another work_dir'
    place = f'process {found.get("pid")} on {found.get("host")}'
    if _is_dead(found):
        return f'{folder}: what {who} ({place}, killed) has started is still at work there'
    return f'{folder}: {who} is still at work there ({place}); choose another work_dir'
