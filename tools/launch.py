"""torchrun, except that errors are one line and elastic runs resume by themselves.

For `tools/launch.sh`; see `mae/fault_tolerance/launcher.py`.
"""

import os
import signal
import sys

_LEVEL = 'TORCH_CPP_LOG_LEVEL'  # torch reads it when it is imported

if __name__ == '__main__':
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until there are processes to stop Ctrl-C ends it at once; torch sets its own with them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    asked = os.environ.get(_LEVEL)
    os.environ[_LEVEL] = asked or 'FATAL'  # we say what its messages of lost nodes mean
    from mae.fault_tolerance.launcher import launch

    if asked is None:
        del os.environ[_LEVEL]  # the processes have their own
    sys.exit(launch(sys.argv[1:]))
