"""torchrun, except that errors are one line and elastic runs resume by themselves.

For `tools/launch.sh`; see `mae/fault_tolerance/launcher.py`.
"""

import os
import sys

_LEVEL = 'TORCH_CPP_LOG_LEVEL'  # torch reads it when it is imported

if __name__ == '__main__':
    asked = os.environ.get(_LEVEL)
    os.environ[_LEVEL] = asked or 'ERROR'  # its warnings of a lost node come with their stack
    from mae.fault_tolerance.launcher import launch

    if asked is None:
        del os.environ[_LEVEL]  # the processes have their own
    sys.exit(launch(sys.argv[1:]))
