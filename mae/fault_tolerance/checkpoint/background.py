"""Saving beside the training: the state is copied, and a thread writes it while steps go on.

`Saver` puts a `Snapshot`, the copy, and a `Writer`, the thread, together.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.fault_tolerance.checkpoint.folder import BEST
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import Unverifiable, read_manifest
from mae.fault_tolerance.checkpoint.save import Pruner, commit
from mae.utils.runner_protocol import RunnerProtocol

# Seconds between attempts. A full disk is often freed by someone within the minute.
BACK_OFF = (0.5, 2.0, 8.0, 30.0)
Save = Callable[[], Sequence[str]]


class Saver:
    """Saves the checkpoints of one run, in its first process.

    The training waits for the copy alone, and for the save before.

    Args:
        max_keep: newest checkpoints kept; -1 keeps all.
        back_off: seconds between attempts where the disk refuses.

    Attributes:
        writer: does the saves.
        kept: checkpoints that stay at least.
    """

    def __init__(self, max_keep: int, back_off: Sequence[float] = BACK_OFF) -> None:
        self.writer = Writer(back_off)
        self._pruner = Pruner(max_keep) if max_keep > 0 else None
        self.kept = 2 if self._pruner is None else self._pruner.max_keep
        self._snapshot = Snapshot()
        self._last_copy: tuple[int, Checkpoint] | None = None  # step and content of the snapshot
        self._start: int | None = None  # first step of this continuation, until its first save
        self._is_best_own = False  # `best.pth` is of this continuation of the run

    def begin_continuation(self, work_dir: Path, start: int, best: float | None) -> float | None:
        """The run goes on from a step: at the next save, later checkpoints are set aside.

        Args:
            work_dir: of the run.
            start: the step.
            best: the best metric until then, as the checkpoint of that step knows it.

        Returns:
            The best metric that counts. `best.pth` may be newer than the checkpoint; one of a
            later step was measured by another continuation, and took the place of ours.
        """
        self._start, self._last_copy, self._is_best_own = start, None, False
        try:
            record = read_manifest(work_dir / BEST).content
        except Unverifiable:
            return best
        if record.step > start:
            return None
        if not start or record.best is None:
            return best
        self._is_best_own = True
        return record.best if best is None else max(best, record.best)

    def save(self, runner: RunnerProtocol, name: str, step: int) -> None:
        """Write the state after `step` steps beside the training, as `name` in the work dir."""
        self.writer.finish_previous()  # the snapshot is written over
        self.writer.submit(name, self._save_function(runner, name, self._copy_state(runner, step)))

    def save_best(self, runner: RunnerProtocol, step: int, best: float) -> None:
        """The same as `best.pth`; `best` is its metric.

        If that step is being written already, the best follows it, and nobody waits.
        """
        if self._last_copy is not None and self._last_copy[0] == step:
            checkpoint = self._last_copy[1]
            checkpoint = {**checkpoint, 'meta': {**checkpoint['meta'], 'best': best}}
        else:
            self.writer.finish_previous(give_up=False)  # this does not make up for a numbered one
            checkpoint = self._copy_state(runner, step)
        self.writer.submit(BEST, self._save_function(runner, BEST, checkpoint), kind='best')

    def save_at_once(self, runner: RunnerProtocol, name: str, step: int) -> None:
        """Write the state after `step` steps, and wait until it is on the disk.

        Raises:
            SaveError: the disk refused at every attempt.
        """
        self.writer.finish_previous()
        self.writer.run(name, self._save_function(runner, name, self._copy_state(runner, step)))

    def _copy_state(self, runner: RunnerProtocol, step: int) -> Checkpoint:
        checkpoint = self._snapshot.take(runner.training_checkpoint(step))
        self._last_copy = (step, checkpoint)
        return checkpoint

    def _save_function(
        self, runner: RunnerProtocol, name: str, checkpoint: Checkpoint
    ) -> Callable[[], list[str]]:
        """What is left to do with a copy of the state."""
        path = Path(runner.work_dir) / name
        start = self._start

        def save() -> list[str]:
            later = commit(checkpoint, path, self._pruner, start, keep_best=self._is_best_own)
            if name == BEST:
                self._is_best_own = True
            else:
                self._start = None
            message = f'{", ".join(later)}: of another continuation of this run, set aside'
            return [message] if later else []

        return save


class Snapshot:
    """Copies nested dicts and lists; its buffers serve again at the next copy.

    On a GPU they are pinned, so that the copy runs at the speed of the bus.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def take(self, value: Checkpoint) -> Checkpoint:
        """A copy that shares no memory with `value`; what shared memory in it shares it again.

        The copy before is written over.
        """
        self._seen: dict[tuple[object, ...], Tensor] = {}
        self._used: set[tuple[object, ...]] = set()
        try:
            # A buffer made in a validation must take the next state, too.
            with torch.inference_mode(False), torch.no_grad():
                copy: Checkpoint = self._copy(value, ())
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                torch.cuda.current_stream().synchronize()
        finally:
            self._seen = {}
        self._buffers = {key: self._buffers[key] for key in self._used}
        return copy

    def _copy(self, value: Any, place: tuple[object, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), place)
        if isinstance(value, dict):
            items = {key: self._copy(item, (*place, key)) for key, item in value.items()}
            if type(value) is dict:
                return items
            copy = type(value)(items)  # OrderedDict, Counter
            vars(copy).update(vars(value))  # a module's state dict has the versions of its parts
            return copy
        if type(value) in (list, tuple):
            return type(value)(self._copy(item, (*place, i)) for i, item in enumerate(value))
        return value  # numbers, strings, None: nothing changes them

    def _copy_tensor(self, value: Tensor, place: tuple[object, ...]) -> Tensor:
        identity = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if value.numel() and identity in self._seen:
            return self._seen[identity]
        buffer = self._buffers.get(place)
        if buffer is None or buffer.dtype != value.dtype or buffer.shape != value.shape:
            buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._buffers[place] = buffer
        self._used.add(place)
        buffer.copy_(value, non_blocking=True)
        self._seen[identity] = buffer
        return buffer


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

    def finish_previous(self, *, give_up: bool = True) -> None:
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
