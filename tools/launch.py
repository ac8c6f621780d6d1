"""torchrun, except that errors are one line and elastic runs resume by themselves.

For `tools/launch.sh`; see `mae/fault_tolerance/launcher.py`.
"""

import sys

from mae.fault_tolerance.launcher import launch

if __name__ == '__main__':
    sys.exit(launch(sys.argv[1:]))
