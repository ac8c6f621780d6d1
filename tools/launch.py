"""torchrun, except that a failed process is reported in one line instead of a traceback.

The traceback would be that of the launcher. What went wrong, the process itself has printed.
"""

import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def launch() -> int:
    """Run torchrun with this command line; returns the exit status."""
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


if __name__ == '__main__':
    sys.exit(launch())
