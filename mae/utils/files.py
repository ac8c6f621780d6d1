"""Files that are whole or absent, whenever the process is killed; and what they hash to."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_PIECE = 1 << 20


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to, which gets its name when it is whole and on disk.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    try:
        with temporary.open('xb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, value: Any, *, flush: bool = True) -> None:
    """Write under another name, then rename.

    Args:
        path: of the file; what it held before stays until the new text is whole.
        value: what JSON can say.
        flush: wait until it is on disk, so that it outlasts a power failure too.

    Raises:
        OSError: the disk refused.
    """
    temporary = path.with_name(f'.{path.name}')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(json.dumps(value, indent=2) + '\n')
        file.flush()
        if flush:
            os.fsync(file.fileno())
    temporary.replace(path)
