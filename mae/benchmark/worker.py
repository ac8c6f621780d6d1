"""A worker process that holds one system, with its own allocator, threads and caches."""

import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from mae.apis.cli import wants_traceback

_GRACE = 5.0  # seconds that a process has to end by itself


class WorkerError(ValueError):
    """A system that did not run; the reason in one line."""


class Worker:
    """A process that builds a system and calls its methods; results come back through a pipe.

    Args:
        name: name of the system, for error messages.
        build: builds the system in the process; must be picklable.

    Raises:
        WorkerError: it could not be built.
    """

    def __init__(self, name: str, build: Callable[[], Any]) -> None:
        self._name = name
        context = get_context('spawn')  # threads of torch and a GPU do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the system in the worker process, and return its result.

        Raises:
            WorkerError: it raised something, or its process has ended; names the system.
        """
        with suppress(BrokenPipeError):  # then there is no answer either
            self._pipe.send((name, arguments))
        try:
            return self._answer()
        except WorkerError as error:
            raise WorkerError(f'{self._name}: {error}') from None

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(_GRACE)
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        try:
            failure, value = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            status = self._process.exitcode
            raise WorkerError(f'its process ended with status {status}') from None
        if failure is not None:
            raise WorkerError(failure)
        return value


def reason(error: Exception) -> str:
    """One line of at most 200 characters."""
    if isinstance(error, ModuleNotFoundError):
        return f'{error.name} is not installed'
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:200]


def _serve(pipe: Connection, build: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    try:
        system = build()
        pipe.send((None, None))
    except Exception as error:  # whatever keeps a peer from running must not end the others
        pipe.send((_printed(error), None))
        return
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:  # the parent has closed the pipe
            return
        try:
            pipe.send((None, getattr(system, name)(*arguments)))
        except Exception as error:  # the parent raises it
            pipe.send((_printed(error), None))


def _printed(error: Exception) -> str:
    if wants_traceback():
        traceback.print_exception(error)
    return reason(error)
