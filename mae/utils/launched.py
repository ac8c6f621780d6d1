"""What the launcher (`tools/launch.py`) and the processes that it starts tell each other."""

import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

# Process id of the launcher.
LAUNCHER = 'MAE_LAUNCHER_PID'
# Name of the elastic run, for its processes.
ELASTIC_RUN = 'MAE_ELASTIC_RUN'
# Torch's agent names the file; it reads `message` and `timestamp`, we read `final`.
_ERROR_FILE = 'TORCHELASTIC_ERROR_FILE'
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def elastic_run() -> str | None:
    """Name of the elastic run that this process belongs to; None if it belongs to none."""
    return os.environ.get(ELASTIC_RUN) or None


def die_with_parent() -> None:
    """Ask the system, on Linux, for SIGTERM when the process that started this one ends.

    Raises:
        ValueError: the launcher has ended already.
    """
    if sys.platform != 'linux':
        return
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    with suppress(PermissionError, KeyError):
        try:
            os.kill(int(os.environ[LAUNCHER]), 0)
        except ProcessLookupError:
            raise ValueError('the launcher of this process has ended') from None


def launched_rank() -> int:
    """Number of this process among those of the launcher, or of SLURM's `srun`; 0 without them."""
    return int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0)


def is_first_to_say(message: str) -> bool:
    """Whether this process is the first on its node to report a message since the last start.

    Each further process with the same message gets False. Without a launcher each is the first.
    """
    path = os.environ.get(_ERROR_FILE)
    if not path:
        return True
    name = hashlib.sha256(message.encode(errors='backslashreplace')).hexdigest()
    try:
        # torch's agent gives each process a folder of its own, in one of the start.
        Path(path).parents[1].joinpath(f'said-{name}').touch(exist_ok=False)
    except FileExistsError:
        return False
    except (IndexError, OSError):  # the disk may be what failed
        return True
    return True


def tell_launcher(message: str, *, final: bool) -> None:
    """Leave word of a failure for the launcher, if there is one.

    Args:
        message: in one line.
        final: whether another start would fail in the same way.
    """
    if path := os.environ.get(_ERROR_FILE):
        told = {'message': message, 'timestamp': int(time.time()), 'final': final}
        with suppress(OSError):  # the disk may be what failed
            Path(path).write_text(json.dumps(told))
