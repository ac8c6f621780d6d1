"""One process at a time in a folder, also while runs of a killed one go on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mae.utils.errors import ConfigError


@contextmanager
def only_one(work_dir: Path) -> Iterator[None]:
    """Hold the folder; the lock passes to child processes and goes with the last of them.

    Raises:
        ConfigError: somebody else holds it.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(work_dir / '.lock', os.O_RDWR | os.O_CREAT)
    os.set_inheritable(descriptor, True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(
            f'{work_dir}: a protocol, or a run of one that was killed, is still at work there'
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
