"""A test in a process of its own, for what would mark the one it runs in."""

import functools
import os
import sys
import traceback


def apart(test):
    """Run `test` in a forked process: where something was compiled, autograd forks no more."""

    @functools.wraps(test)
    def forked(*args, **kwargs):
        pid = os.fork()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            return
        try:
            test(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    return forked
