"""What takes a run out of its step: signals, noted at once and obeyed at the next boundary."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

# What is obeyed if several come, the last first, and the exit status of each.
EXIT_CODES: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}

# Seconds within which a signal counts as the first one again: a launcher hands on what the batch
# system has sent to every process already.
_SAME = 1.0


class Stopped(SystemExit):
    """A run ends because it was asked to; the code is the exit status.

    Args:
        signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(EXIT_CODES[signum])
        self.signum = signum


class RolledBack(Exception):  # noqa: N818  # no error: the run goes on from an earlier step
    """A hook has put the run back to an earlier step, from where it goes on."""


class StopSignals:
    """SIGTERM, SIGUSR1 and SIGINT set a flag; a second one quits at once.

    Before `defer()`, and wherever `waiting()` says that nothing can be lost, the first one raises
    `Stopped` instead. A thread sees to both while the main thread is inside a library, where
    Python's handlers do not run. Signals that the parent has told to ignore stay ignored, and
    outside the main thread nothing is listened to.

    Attributes:
        signum: the signal that came first, or 0.
        on_quit: called with the signal before a second one quits.
    """

    def __init__(self, on_quit: Callable[[int], None] | None = None) -> None:
        self.signum = 0
        self.on_quit = on_quit
        self._interrupts = True  # raise at once
        self._starting = True
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> 'StopSignals':
        if threading.current_thread() is not threading.main_thread():
            return self
        for signum in EXIT_CODES:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._handle)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name='signals', daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not hasattr(self, '_writer'):
            return
        self._starting = False
        signal.set_wakeup_fd(self._old_wakeup)
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)
        self._writer.close()  # ends the thread

    def defer(self) -> None:
        """From now on there is something to save: a signal waits for the next step boundary."""
        self._starting = self._interrupts = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A stretch that may be broken off anywhere, such as waiting for data."""
        self._interrupts = True
        try:
            if self.signum:
                raise Stopped(self.signum)
            yield
        finally:
            self._interrupts = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        if self._interrupts:
            self._interrupts = self._starting = False  # nothing more must disturb the way out
            raise Stopped(self.signum)

    def _watch(self) -> None:
        first = 0.0
        while True:
            with suppress(OSError):
                received = self._reader.recv(64)
            if not received:
                self._reader.close()
                return
            for signum in set(received) & set(self._previous):
                now = time.monotonic()
                if not first:
                    first = now
                    if self._starting:  # perhaps inside a library, waiting for other processes
                        threading.Thread(
                            target=self._quit_soon, args=(signum,), daemon=True
                        ).start()
                elif now - first >= _SAME:
                    self._quit(signum, 'a second signal')

    def _quit_soon(self, signum: int) -> None:
        def quit_unless_begun() -> None:
            time.sleep(_SAME)
            if self._starting:
                self._quit(signum, signal.Signals(signum).name)

        threading.Thread(target=quit_unless_begun, daemon=True).start()

    def _quit(self, signum: int, why: str) -> None:
        if self.on_quit is not None:
            with suppress(Exception):
                self.on_quit(signum)
        with suppress(Exception):
            print(f'{why}: quitting at once', file=sys.stderr, flush=True)
        os._exit(EXIT_CODES[signum])
