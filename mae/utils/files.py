"""Files that are whole or absent, whenever the process is killed."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mae.utils import strict_json

_HOST = re.sub(r'[^\w.]', '_', socket.gethostname())
_TEMPORARY = re.compile(r'\..+\.(?P<host>[\w.]+)-(?P<pid>\d+)(-\d+)?\.tmp')


def temporary_path(path: Path) -> Path:
    """Where this thread writes what is to become `path`."""
    writer = f'{_HOST}-{os.getpid()}-{threading.get_native_id()}'
    return path.with_name(f'.{path.name}.{writer}.tmp')


def writer_of(path: Path) -> tuple[bool, int] | None:
    """Whether a temporary file is of this host, and its process; None if it is none of ours."""
    found = _TEMPORARY.fullmatch(path.name)
    return (found['host'] == _HOST, int(found['pid'])) if found else None


@contextmanager
def whole_file(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """A new file to write to, which gets its name when it is whole.

    Args:
        path: an older file there is replaced only when the new one is whole. A missing folder is
            created.
        flush: fsync before renaming, so that the file survives a power failure too.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        with temporary.open('wb') as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write `value` as strict JSON, whole or not at all; see `strict_json` and `whole_file`."""
    with whole_file(path, flush=flush) as file:
        file.write((strict_json.dumps(value, indent=2) + '\n').encode())
