"""Tests in forked processes: what would leave a mark, and what two processes do together."""

import functools
import os
import signal
import socket
import sys
import traceback


def forked(test):
    """Run `test` in a fork: where something was compiled, autograd refuses to work in forks."""

    @functools.wraps(test)
    def in_fork(*args, **kwargs):
        pid = os.fork()
        if pid:
            try:
                status = os.waitpid(pid, 0)[1]
            except BaseException:  # out of time: the fork would go on
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
            assert os.waitstatus_to_exitcode(status) == 0
            return
        try:
            test(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    return in_fork


def in_two_processes(call):
    """Exit codes of `call()` in two forks, which find what torchrun tells its processes."""
    with socket.socket() as place:
        place.bind(('127.0.0.1', 0))
        port = place.getsockname()[1]
    children = [os.fork() or _child(call, rank, port) for rank in range(2)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _child(call, rank, port):
    os.environ |= {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2'}
    os.environ |= {'LOCAL_WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    code = 1
    try:
        code = call()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
