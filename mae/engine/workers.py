"""What a data worker does on its first breath."""

import faulthandler
import os
import signal
import sys
from types import FrameType

# Asked with this signal, a worker prints where it is.
TELL_STACK = signal.SIGUSR2


def prepare_worker(worker_id: int) -> None:
    """Leave signals to the main process, which ends its workers when it has no need of them.

    Ctrl-C, a launcher and a batch system signal the workers too; were they to die of it, the run
    could not reach the end of its step.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_first)
    if sys.__stderr__ is not None:
        faulthandler.register(TELL_STACK, file=sys.__stderr__, all_threads=True)


def _ignore_first(signum: int, frame: FrameType | None) -> None:
    """The first SIGTERM may be meant for the run, a second one is for the worker."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
