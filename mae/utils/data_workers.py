"""What a data worker does when it starts."""

import faulthandler
import os
import signal
import sys
import threading

from mae.utils.allocator import return_freed_memory

# On this signal a worker prints its stack.
TELL_STACK = signal.SIGUSR2


def prepare_worker(worker_id: int) -> None:
    """Ignore signals that the main process handles; it ends its workers when the run stops.

    Ctrl-C, a launcher and a batch system signal the workers too; if they died of it, the run
    could not reach the end of its step. SIGTERM ends a worker only if its parent sent it.
    """
    return_freed_memory()  # a photograph decoded once must not stay
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Python's signal handlers do not get the sender's pid; `sigwaitinfo` returns it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()
    if sys.__stderr__ is not None:
        faulthandler.register(TELL_STACK, file=sys.__stderr__, all_threads=True)


def _obey_parent(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
