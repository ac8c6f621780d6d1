"""Saving beside the training: one thread writes while the next steps run."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

# Seconds between attempts. A full disk is often freed by someone within the minute.
BACK_OFF = (0.5, 2.0, 8.0, 30.0)

Save = Callable[[], Sequence[str]]


class SaveError(OSError):
    """A checkpoint could not be written, not even at the last attempt."""


class Writer:
    """Runs one save at a time in a thread, and tries again what the disk refuses.

    What goes wrong is told by `messages`, in the thread of the training; the thread itself logs
    nothing. It is no daemon: a process that ends by itself finishes its save first.

    Args:
        back_off: seconds between attempts.
    """

    def __init__(self, back_off: Sequence[float] = BACK_OFF) -> None:
        self.back_off = back_off
        self._thread: threading.Thread | None = None
        self._messages: deque[str] = deque()
        self._give_up = threading.Event()
        self._failures: dict[str, BaseException] = {}

    @property
    def failure(self) -> BaseException | None:
        """What a save failed with that no later one of its kind has made up for."""
        return next(iter(self._failures.values()), None)

    def submit(self, name: str, save: Save, kind: str = '') -> None:
        """Start a save as soon as the one before is done; waits for neither.

        Args:
            name: of the checkpoint, for messages.
            save: does it, and returns messages.
            kind: a later save of this kind makes up for a failed one.
        """
        before = self._thread

        def run() -> None:
            if before is not None:
                before.join()
            self._run(name, save, kind)

        self._give_up.clear()
        self._thread = threading.Thread(target=run, name='checkpoint-writer', daemon=False)
        self._thread.start()

    def run(self, name: str, save: Save, kind: str = '') -> None:
        """The same at once, in this thread.

        Raises:
            SaveError: every attempt failed.
        """
        self.wait()
        self._give_up.clear()
        self._run(name, save, kind)
        self.raise_failure()

    def make_room(self, *, give_up: bool = True) -> None:
        """Wait for the save before.

        Args:
            give_up: if it waits for a better disk, drop it: the next makes up for it.
        """
        if give_up:
            self._give_up.set()
        self.wait()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def messages(self) -> list[str]:
        """What has happened since the last call; costs nothing where nothing has."""
        found = []
        while self._messages:
            found.append(self._messages.popleft())
        return found

    def raise_failure(self) -> None:
        """Raise what `failure` tells, once.

        Raises:
            SaveError: the disk refused; anything else is a bug.
        """
        error = self.failure
        self._failures.clear()
        if isinstance(error, OSError):
            raise SaveError(f'a checkpoint could not be saved: {error}') from error
        if error is not None:
            raise error

    def _run(self, name: str, save: Save, kind: str) -> None:
        for number, pause in enumerate((*self.back_off, None), 1):
            try:
                self._messages.extend(save())
                self._failures.pop(kind, None)
                return
            except OSError as error:
                self._failures[kind] = error
                what = f'{name} could not be saved (attempt {number}): {error}'
                if pause is None or self._give_up.is_set():
                    self._messages.append(f'{what}; older checkpoints are untouched')
                    return
                self._messages.append(f'{what}; trying again in {pause:g} s')
                if self._give_up.wait(pause):
                    return
            except BaseException as error:
                self._failures[kind] = error
                return
