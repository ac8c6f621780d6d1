"""torchrun, except that a failed run ends with one line: what the failed process says of it.

torchrun's own warnings, its table of failures and the traceback of the launcher would follow that
line. Each process knows the launcher's process id, and on Linux ends with it.
"""

import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.api import PContext, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def launch() -> int:
    """Run torchrun with this command line; returns the exit status."""
    os.environ['MAE_LAUNCHER_PID'] = str(os.getpid())
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    do_not_wait_for_frozen()
    try:
        main()
    except SignalException as stopped:
        return 143 if stopped.sigval == signal.SIGUSR1 else 128 + stopped.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f'rank {rank} was stopped by {failure.signal_name()}', file=sys.stderr)
        return max(failure.exitcode, 1)
    return 0


def do_not_wait_for_frozen() -> None:
    """When the processes are to end, kill those that SIGSTOP holds, which no SIGTERM would reach.

    torchrun waits 30 s for them.
    """
    close = PContext.close

    def close_now(context: PContext, *args: Any, **kwargs: Any) -> None:
        for pid in context.pids().values():
            if _is_frozen(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        close(context, *args, **kwargs)

    PContext.close = close_now  # type: ignore[method-assign]


def _is_frozen(pid: int) -> bool:
    with suppress(OSError):  # it has ended, or this is no Linux
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'T'
    return False


if __name__ == '__main__':
    sys.exit(launch())
