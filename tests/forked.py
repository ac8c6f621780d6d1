"""A test in a forked process, for what would leave a mark on the one it runs in."""

import functools
import os
import sys
import traceback


def forked(test):
    """Run `test` in a fork: where something was compiled, autograd refuses to work in forks."""

    @functools.wraps(test)
    def in_fork(*args, **kwargs):
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

    return in_fork
