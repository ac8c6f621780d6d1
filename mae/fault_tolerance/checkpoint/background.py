"""Saving beside the training: the state is copied, and a thread writes it while steps go on.

The second of three files about a save, after `hook.py`. `Saver` copies the state with a `Snapshot`
and lets a `Writer`, which has the thread, call `commit` of `save.py`, or in all processes
`save_sharded` of `sharded.py`.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor

from mae.fault_tolerance.checkpoint.folder import BEST
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import ContentRecord, Unverifiable, read_manifest
from mae.fault_tolerance.checkpoint.parts import Parts
from mae.fault_tolerance.checkpoint.save import Pruner, commit, settle
from mae.fault_tolerance.checkpoint.save_group import SaveGroup
from mae.fault_tolerance.checkpoint.sharded_save import save_sharded
from mae.utils.distributed import on_main
from mae.utils.runner_protocol import RunnerProtocol
from mae.utils.sharded import full, gather

# Seconds between attempts: a full disk is often freed within the minute.
BACK_OFF = (0.5, 2.0, 8.0, 30.0)
Save = Callable[[], Sequence[str]]


class Saver:
    """Saves the checkpoints of one run, in its first process or, with `group`, in all.

    The training waits only for the copy, and for the previous save. Where the model is sharded the
    other processes are called too, only to help with the copy.

    Args:
        max_keep: number of newest checkpoints kept; -1 keeps all.
        back_off: seconds between attempts after an error of the disk.

    Attributes:
        kept: number of checkpoints that stay at least.
        group: the processes that write each checkpoint but the best together; None: the first
            process writes it alone.
    """

    group: SaveGroup | None = None

    def __init__(self, max_keep: int, back_off: Sequence[float] = BACK_OFF) -> None:
        self.writer = Writer(back_off)
        self._pruner = Pruner(max_keep) if max_keep > 0 else None
        self.kept = 2 if self._pruner is None else self._pruner.max_keep
        self._snapshot = Snapshot()
        self._last_copy: tuple[int, Checkpoint] | None = None  # step and content of the snapshot
        self._start: int | None = None  # first step of this continuation, until its first save
        self._is_best_own = False  # `best.pth` is of this continuation of the run

    def begin_continuation(self, work_dir: Path, start: int, best: float | None) -> float | None:
        """The run continues from step `start`: the next save sets later checkpoints aside.

        Args:
            best: the best metric until then, by the checkpoint of that step.

        Returns:
            The best metric until then. `best.pth` may be newer than the checkpoint; if it is of a
            later step than `start`, another continuation has replaced ours, so there is none.
        """
        self._start, self._last_copy, self._is_best_own = start, None, False
        return on_main(lambda: self._best_until(work_dir, start, best))

    def _best_until(self, work_dir: Path, start: int, best: float | None) -> float | None:
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
        """Write the state after `step` steps in the thread, as `name` in the work dir."""
        self.writer.finish_previous()  # the snapshot is overwritten
        save = self._copied(runner, name, step)
        if save is not None:
            self.writer.submit(name, save, retries=self._retries)

    def save_best(self, runner: RunnerProtocol, step: int, best: float) -> None:
        """Likewise as `best.pth`; `best` is its metric.

        If that step is being written already, the same copy is written again, without waiting.
        """
        if self._last_copy is not None and self._last_copy[0] == step:
            checkpoint = self._last_copy[1]
        else:
            self.writer.finish_previous(give_up=False)  # does not replace a numbered one
            checkpoint = self._copy_state(runner, step)
        if is_main_process():
            checkpoint = {**checkpoint, 'meta': {**checkpoint['meta'], 'best': best}}
            self.writer.submit(BEST, self._save_function(runner, BEST, checkpoint), kind='best')

    def save_at_once(self, runner: RunnerProtocol, name: str, step: int) -> None:
        """Write the state after `step` steps, and wait until it is on the disk.

        Raises:
            SaveError: the disk refused at every attempt.
        """
        self.writer.finish_previous()
        save = self._copied(runner, name, step)
        if save is not None:
            self.writer.run(name, save, retries=self._retries)

    def _copied(self, runner: RunnerProtocol, name: str, step: int) -> Save | None:
        """Copy the state; returns what writes the copy, or None if another process does."""
        if self.group is None:
            checkpoint = self._copy_state(runner, step)
            return self._save_function(runner, name, checkpoint) if is_main_process() else None
        group, self._last_copy = self.group, None
        shared = {key for key, _ in runner.bare_model.named_parameters()}
        # A validation that is interrupted for a save runs in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            parts = Parts.of(runner.training_checkpoint(step))
            parts.keep_own(shared, group.rank, group.count)
            parts.copy_to_host(self._snapshot.take)
        path, start = Path(runner.work_dir) / name, self._start

        def settled(record: ContentRecord) -> list[str]:
            later = settle(record, path, self._pruner, start, keep_best=self._is_best_own)
            self._start = None
            return _told(later)

        return lambda: save_sharded(parts, path, group, settled)

    def _retries(self, wants: bool) -> bool:
        """Whether to try again; with a group the first process decides for all."""
        return wants if self.group is None else self.group.on_first(lambda: wants)

    def _copy_state(self, runner: RunnerProtocol, step: int) -> Checkpoint:
        """The copy, which the first process alone keeps."""
        checkpoint: Checkpoint = {}
        # A validation that is interrupted for a save runs in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            state = runner.training_checkpoint(step)
            if is_main_process():
                checkpoint = self._snapshot.take(state)
            else:
                gather(state)
        self._last_copy = (step, checkpoint)
        return checkpoint

    def _save_function(self, runner: RunnerProtocol, name: str, checkpoint: Checkpoint) -> Save:
        """The save of a copy, to be called in the thread."""
        path = Path(runner.work_dir) / name
        start = self._start

        def save() -> list[str]:
            later = commit(checkpoint, path, self._pruner, start, keep_best=self._is_best_own)
            if name == BEST:
                self._is_best_own = True
            else:
                self._start = None
            return _told(later)

        return save


def _told(later: Sequence[str]) -> list[str]:
    message = f'{", ".join(later)}: of another continuation of this run, set aside'
    return [message] if later else []


class Snapshot:
    """Copies nested dicts and lists of tensors into buffers that the next copy reuses.

    For tensors of a GPU they are pinned, so that the copy runs at the speed of the bus. A tensor
    that the processes hold in parts is made whole; meanwhile the others must `gather` the same.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def take(self, value: Checkpoint) -> Checkpoint:
        """A copy that shares no memory with `value`; tied tensors are tied in it too.

        Overwrites the previous copy.
        """
        self._seen: dict[tuple[object, ...], Tensor] = {}
        self._used: set[tuple[object, ...]] = set()
        try:
            # Buffers made during a validation must be writable outside of inference mode.
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
        return value  # numbers, strings, None: immutable

    def _copy_tensor(self, value: Tensor, place: tuple[object, ...]) -> Tensor:
        whole = full(value)
        is_own = whole is value  # else its memory is another tensor's next
        identity = (whole.device, whole.data_ptr(), whole.dtype, whole.shape, whole.stride())
        if is_own and value.numel() and identity in self._seen:
            return self._seen[identity]
        buffer = self._buffers.get(place)
        if buffer is None or buffer.dtype != value.dtype or buffer.shape != value.shape:
            buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._buffers[place] = buffer
        self._used.add(place)
        buffer.copy_(whole, non_blocking=True)
        if is_own:
            self._seen[identity] = buffer
        return buffer


class SaveError(OSError):
    """A checkpoint could not be written at any attempt."""


class Writer:
    """Runs one save at a time in a thread, and retries after errors of the disk.

    The thread does not log: the training calls `messages` and logs what it returns. It is no
    daemon, so a process that ends normally finishes its save first.

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
        """The error of a failed save after which none of its kind has succeeded."""
        return next(iter(self._failures.values()), None)

    def submit(
        self, name: str, save: Save, kind: str = '', retries: Callable[[bool], bool] = bool
    ) -> None:
        """Start a save after the previous one, without waiting.

        Args:
            name: file name, for messages.
            save: writes the checkpoint and returns messages.
            kind: the next successful save of this kind clears the failure of this one.
            retries: called after a failure with whether this process wants to try again; returns
                whether it does. By default what it wants.
        """
        before = self._thread

        def run() -> None:
            if before is not None:
                before.join()
            self._run(name, save, kind, retries)

        self._give_up.clear()
        self._thread = threading.Thread(target=run, name='checkpoint-writer', daemon=False)
        self._thread.start()

    def run(
        self, name: str, save: Save, kind: str = '', retries: Callable[[bool], bool] = bool
    ) -> None:
        """Run a save in this thread.

        Raises:
            SaveError: every attempt failed.
        """
        self.wait()
        self._give_up.clear()
        self._run(name, save, kind, retries)
        self.raise_failure()

    def finish_previous(self, *, give_up: bool = True) -> None:
        """Wait for the previous save.

        Args:
            give_up: do not let it retry, since the next save replaces it.
        """
        if give_up:
            self._give_up.set()
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def messages(self) -> list[str]:
        """Messages since the last call."""
        found = []
        while self._messages:
            found.append(self._messages.popleft())
        return found

    def raise_failure(self) -> None:
        """Raise `failure`, if there is one, and clear it.

        Raises:
            SaveError: the disk refused; any other type is a bug.
        """
        error = self.failure
        self._failures.clear()
        if isinstance(error, OSError):
            raise SaveError(f'a checkpoint could not be saved: {error}') from error
        if error is not None:
            raise error

    def _run(self, name: str, save: Save, kind: str, retries: Callable[[bool], bool]) -> None:
        try:
            self._attempt(name, save, kind, retries)
        except BaseException as error:
            self._failures[kind] = error

    def _attempt(self, name: str, save: Save, kind: str, retries: Callable[[bool], bool]) -> None:
        for number, pause in enumerate((*self.back_off, None), 1):
            try:
                self._messages.extend(save())
                self._failures.pop(kind, None)
                return
            except OSError as error:
                self._failures[kind] = error
                what = f'{name} could not be saved (attempt {number}): {error}'
            if pause is None or not retries(not self._give_up.is_set()):
                self._messages.append(f'{what}; older checkpoints are untouched')
                return
            self._messages.append(f'{what}; trying again in {pause:g} s')
            if not retries(not self._give_up.wait(pause)):
                return
