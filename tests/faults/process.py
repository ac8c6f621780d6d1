"""Processes that can be killed with all that they started, spawned or forked."""

import atexit
import contextlib
import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
import weakref
from multiprocessing import connection
from pathlib import Path

_FORKS = multiprocessing.get_context('forkserver')
_FORKS.set_forkserver_preload(
    [
        'mae.apis',
        'mae.apis.runs',
        'mae.config',
        'mae.datasets',
        'mae.evaluation',
        'mae.models',
        'sklearn.datasets',
        'sklearn.model_selection',
        'tests.faults.inside',
    ]
)
_MARK = 'MAE_FAULT_MARK'
# Starting a process asks all others for their exit status, which can be read but once: a thread
# that asks at the same time would be told 255.
_ONE_AT_A_TIME = threading.Lock()


_LIVE: 'weakref.WeakSet[Spawned | Forked]' = weakref.WeakSet()


def kill_what_is_left():
    """For a harness that is interrupted: nothing stays behind."""
    for process in list(_LIVE):
        process.kill()


class Hung(Exception):  # noqa: N818  # as said of a process
    """A process did not end in time; it has been killed."""


class Spawned:
    """A command line as a user gives it, in a session of its own."""

    def __init__(self, line, log, env):
        self._mark = uuid.uuid4().hex
        env = {**os.environ, 'PYTHON': sys.executable, **env, _MARK: self._mark}
        with open(log, 'ab') as file:
            self._process = subprocess.Popen(
                line,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        _LIVE.add(self)

    def is_alive(self):
        return self._process.poll() is None

    def send(self, signum):
        """A signal to the first process alone."""
        os.kill(self.pid, signum)

    def wait(self, patience):
        """Exit status, negative after a signal. Raises Hung."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Hung(f'no end after {patience:.0f} s') from None
        return code

    def members(self):
        """Process ids of all that it started and that live, itself included."""
        return [pid for pid in _pids() if f'{_MARK}={self._mark}'.encode() in _environ(pid)]

    def ranks(self):
        """Process ids of the ranks that it has started as a launcher, by rank."""
        found = {}
        for pid in self.members():
            rank = re.search(rb'(?:^|\0)RANK=(\d+)', _environ(pid))
            if rank and _parent(pid) == self.pid:
                found[int(rank[1])] = pid
        return found

    def kill(self):
        """SIGKILL to all of them."""
        _kill_all(self.members)
        self._process.wait()


class Forked:
    """`python FILE ARGUMENTS` in a child of a process that has done the imports."""

    def __init__(self, line, log, env):
        if line[0] != sys.executable:
            raise ValueError('only Python is forked')
        self._process = _FORKS.Process(target=_run, args=(line[1:], str(log), env))
        with _ONE_AT_A_TIME:
            self._process.start()
        self.pid = self._process.pid
        _LIVE.add(self)

    def is_alive(self):
        with _ONE_AT_A_TIME:
            return self._process.is_alive()

    def send(self, signum):
        """A signal to the first process alone."""
        os.kill(self.pid, signum)

    def wait(self, patience):
        """Exit status, negative after a signal. Raises Hung."""
        ended = connection.wait([self._process.sentinel], patience)
        if not ended and self.is_alive():
            self.kill()
            raise Hung(f'no end after {patience:.0f} s')
        return self._join()

    def members(self):
        """Process ids of all that it started and that live, itself included."""
        return [pid for pid in _pids() if _session(pid) == self.pid]

    def kill(self):
        """SIGKILL to all of them."""
        _kill_all(self.members)
        self._join()

    def _join(self):
        with _ONE_AT_A_TIME:
            self._process.join()
            return self._process.exitcode


def _run(words, log, env):
    os.setsid()
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    os.environ.update(env)
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)
    code: object = 1
    try:
        runpy.run_path(words[0], run_name='__main__')
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    _leave(code if isinstance(code, int) else int(code is not None))


def _leave(code):
    """End as Python itself ends; a forked process would leave out most of it."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _kill_all(members):
    deadline = time.monotonic() + 10
    while (pids := members()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def _environ(pid):
    with contextlib.suppress(OSError):
        return Path(f'/proc/{pid}/environ').read_bytes()  # empty once it is dead
    return b''


def _session(pid):
    return _stat(pid, 3)


def _parent(pid):
    return _stat(pid, 1)


def _stat(pid, field):
    """A number of /proc/PID/stat, counted from its state; 0 of a process that is dead."""
    with contextlib.suppress(OSError):
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        return int(fields[field]) if fields[0] != 'Z' else 0
    return 0
