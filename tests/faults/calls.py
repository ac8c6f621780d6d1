"""Faults that a save must survive: death at any system call, a torn write, a disk that refuses.

Each is a context that replaces calls of the module `os`, which is how checkpoints are written.
"""

import errno
import os
from contextlib import contextmanager

CALLS = ('open', 'write', 'fsync', 'close', 'replace', 'unlink')


class Killed(BaseException):
    """The process is dead. What it had done stays; nothing that it does from now on happens."""


class Calls:
    """Counts the system calls of a save and, from one of them on, lets none happen.

    Args:
        kill_at: number of the call (from 1) before which the process dies; 0: it lives.
        torn_after: bytes after which it dies in the middle of a write; None: not so.
    """

    def __init__(self, kill_at=0, torn_after=None):
        self.kill_at = kill_at
        self.torn_after = torn_after
        self.seen = []
        self.dead = False
        self.written = 0

    def __enter__(self):
        self._real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._replacement(name))
        return self

    def __exit__(self, kind, error, traceback):
        for name, function in self._real.items():
            setattr(os, name, function)
        return kind is Killed  # so that a test goes on, as the next process

    def _replacement(self, name):
        def call(*args, **kwargs):
            if not self.dead:
                self.seen.append(name)
                self.dead = len(self.seen) == self.kill_at
            if not self.dead and name == 'write' and self.torn_after is not None:
                return self._torn(*args)
            if self.dead:
                if name == 'close':  # the system closes what a dead process had open
                    self._real[name](*args)
                raise Killed
            return self._real[name](*args, **kwargs)

        return call

    def _torn(self, descriptor, data):
        part = data[: self.torn_after - self.written]
        self.written += self._real['write'](descriptor, part)
        if self.written == self.torn_after:
            self.dead = True
            raise Killed
        return len(part)


@contextmanager
def failing(name='write', code=errno.ENOSPC, times=None, after_bytes=0, only=None):
    """Calls of `os.<name>` fail with an error of the system.

    Args:
        name: of the call.
        code: its errno.
        times: how often; None: for good.
        after_bytes: of each file, before a write fails.
        only: whether a call may fail at all, of its arguments.
    """
    real, left, sizes = getattr(os, name), [times], {}

    def call(*args, **kwargs):
        if left[0] == 0 or (only is not None and not only(*args)):
            return real(*args, **kwargs)
        if name == 'write':
            descriptor, data = args
            room = after_bytes - sizes.get(descriptor, 0)
            if room > 0:
                done = real(descriptor, data[:room])
                sizes[descriptor] = sizes.get(descriptor, 0) + done
                return done
            sizes.pop(descriptor, None)
        if left[0] is not None:
            left[0] -= 1
        raise OSError(code, os.strerror(code))

    setattr(os, name, call)
    try:
        yield
    finally:
        setattr(os, name, real)


def cut(path, share=None, less=0):
    """Cut a file to a share of its size, or by some bytes."""
    size = path.stat().st_size
    os.truncate(path, size - less if share is None else int(size * share))


def flip_bit(path, number):
    """Change one bit of a file."""
    with path.open('r+b') as file:
        file.seek(number // 8)
        byte = file.read(1)[0]
        file.seek(number // 8)
        file.write(bytes([byte ^ 1 << number % 8]))


def size_in_bits(path):
    return 8 * path.stat().st_size
