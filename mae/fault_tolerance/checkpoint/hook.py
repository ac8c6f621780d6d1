"""When checkpoints are written: `CheckpointHook`.

A save spans three files, to be read in this order: this one, which decides when; `background.py`,
which copies the state and writes it beside the training; `save.py`, which makes the file visible
and removes old ones, or `sharded.py` for a folder that all processes write. What a checkpoint holds
is in `state.py`, which checkpoints a work dir has in `folder.py`.
"""

import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch import nn

from mae.fault_tolerance.checkpoint.background import BACK_OFF, SaveError, Saver
from mae.fault_tolerance.checkpoint.folder import (
    FINAL,
    SHARDED,
    is_present,
    list_checkpoints,
    remove_lone_manifests,
    set_aside_final,
    size_of,
)
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.save import checkpoint_bytes, save_checkpoint
from mae.fault_tolerance.checkpoint.save_group import SaveGroup
from mae.fault_tolerance.checkpoint.sharded_load import read_sharded
from mae.registry import HOOKS
from mae.utils.distributed import Timeouts, on_main
from mae.utils.errors import CheckpointError
from mae.utils.files import remove_stale_temporaries
from mae.utils.runner_protocol import RunnerProtocol
from mae.utils.sharded import is_sharded
from mae.utils.text import readable_size

_ASKED = 10  # steps after which processes that must save together agree on the time


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Saves every few epochs, iterations or minutes, at the end, and the best so far.

    After `sharded` ones the weights of the last are written as one file, `final.pth`.

    The training waits until the state is copied to host memory; a thread does the rest. A
    checkpoint is complete before `last_checkpoint` names it, and only then older ones are removed.
    Only the first process writes, so it alone decides when, and no process waits for another. If
    checkpoints are `sharded`, all write, and wait for one another in the thread. If only the model
    is, all make the state whole for the first, one tensor at a time.

    Args:
        interval: epochs, iterations or minutes between checkpoints.
        by: what `interval` counts: 'epoch', 'iter' or 'minutes'.
        by_epoch: older form of `by`: True for 'epoch', False for 'iter'.
        max_keep: number of newest checkpoints kept; -1 keeps all. In any case two verified ones
            stay, and one whose weights are finite.
        save_best: name of a validation metric, higher is better; its best checkpoint is `best.pth`.
        sharded: all processes write, each a part, into a folder `iter_N.dcp`; the work dir must be
            shared. By default if the model is sharded.

    Raises:
        ValueError: `interval`, `by` or `max_keep` is out of range.
    """

    priority = 'VERY_LOW'
    back_off = BACK_OFF

    def __init__(
        self,
        interval: float = 1,
        *,
        by: Literal['epoch', 'iter', 'minutes'] | None = None,
        by_epoch: bool | None = None,
        max_keep: int = 2,
        save_best: str | None = None,
        sharded: bool | None = None,
    ) -> None:
        self.by = _unit(by, by_epoch)
        if interval <= 0 or max_keep == 0 or max_keep < -1:
            raise ValueError(
                'default_hooks.checkpoint needs interval >= 1 and max_keep >= 1 (or -1 for all), '
                f'not interval={interval} and max_keep={max_keep}'
            )
        if self.by != 'minutes' and interval != int(interval):
            raise ValueError(
                f'default_hooks.checkpoint.interval={interval} is no whole number, and by='
                f"'{self.by}' needs one; by='minutes' does not"
            )
        self.interval = interval
        self.max_keep = max_keep
        self.save_best = save_best
        self.sharded = sharded
        self.best: float | None = None
        self._saver = Saver(max_keep, self.back_off)
        self._saved_step = -1
        self._saved_time = time.monotonic()
        self._last: Path | None = None

    def before_train(self, runner: RunnerProtocol) -> None:
        """Remove what killed runs left, and check the free space of the disk."""
        if self._saver.group is None and self.all_write(runner):
            limits = Timeouts.of((runner.cfg.get('env_cfg') or {}).get('dist_cfg') or {})
            self._saver.group = SaveGroup(limits.start)
        self.begin_continuation(runner)
        _ = runner.identity  # computed once now: a save must not wait for data
        for message in on_main(lambda: self._prepare(runner)):
            runner.logger.warning(message)

    def after_train_iter(self, runner: RunnerProtocol, *args: object, **kwargs: object) -> None:
        self._report(runner)
        done = runner.iter + 1
        if self.by == 'epoch':
            return
        if self._is_due(runner, done) or done == runner.max_iters:
            self._save(runner, f'iter_{done}', done)

    def after_train_epoch(self, runner: RunnerProtocol) -> None:
        done = runner.epoch + 1
        if self.by == 'epoch' and (done % self.interval == 0 or done == runner.max_epochs):
            self._save(runner, f'epoch_{done}', runner.iter)

    def after_val_epoch(
        self, runner: RunnerProtocol, metrics: dict[str, float] | None = None
    ) -> None:
        if self.save_best is None or not metrics or not runner.iter:  # 0: no training
            return
        if self.save_best not in metrics:
            raise ValueError(
                f'default_hooks.checkpoint.save_best={self.save_best!r} is not among the '
                f'validation metrics {", ".join(metrics)}'
            )
        found = metrics[self.save_best]
        if math.isnan(found):  # no later value would compare as better
            return
        if self.best is None or found > self.best:
            self.best = found
            if is_main_process() or is_sharded(runner.model):
                self._saver.save_best(runner, runner.iter, self.best)

    def after_train(self, runner: RunnerProtocol) -> None:
        """Wait for the last save; a run that a hook has ended early saves where it is.

        Raises:
            SaveError: the last checkpoint could not be written.
        """
        if runner.iter < runner.max_iters:
            self.save_now(runner, runner.iter)
        self.wait()
        self._report(runner)
        on_main(self._saver.writer.raise_failure)
        if aside := on_main(partial(self._finish, runner)):
            runner.logger.info(f'{FINAL} was of an earlier end of this run: now {aside}')

    def _finish(self, runner: RunnerProtocol) -> str | None:
        """Let `final.pth` be of this end of the run; returns the new name of one set aside."""
        work_dir = Path(runner.work_dir)
        last = self._last or Path(runner.resumed_from or '')
        if self._saver.group is None or SHARDED not in last.suffixes:
            return set_aside_final(work_dir, runner.iter)
        write_weights_of(last, work_dir / FINAL)
        return None

    def after_all(self, runner: RunnerProtocol) -> None:
        """Wait for the last save, however the training ended."""
        self.wait()
        self._log_messages(runner)

    def before_save_checkpoint(self, runner: RunnerProtocol, checkpoint: Checkpoint) -> None:
        checkpoint['meta']['best'] = self.best

    def after_load_checkpoint(self, runner: RunnerProtocol, checkpoint: Checkpoint) -> None:
        meta = checkpoint.get('meta')
        best = meta.get('best') if isinstance(meta, dict) else None
        self.best = None if best is None else float(best)

    # --- for hooks that stop a run or go back ---------------------------------------------

    def save_now(self, runner: RunnerProtocol, step: int) -> None:
        """Write a checkpoint between two steps, unless that step has one, and wait for it.

        All processes must call it. Does nothing except in those that take part in a save.

        Args:
            step: optimizer steps done.

        Raises:
            SaveError: the disk refused at every attempt.
        """
        if not (is_main_process() or self._is_joint(runner)):
            return
        if self._saved_step == step:
            self.wait()
        if self._said_by_first(runner, lambda: self._must_save(step)):
            self._saved_step = step
            self._saver.save_at_once(runner, self._named(runner, f'iter_{step}'), step)
        self._report(runner)

    def wait(self) -> None:
        """Wait until the current save is on the disk, or has failed at every attempt."""
        self._saver.writer.wait()

    def begin_continuation(self, runner: RunnerProtocol) -> None:
        """The run continues from its step: the next save sets later checkpoints aside."""
        self._saved_step = -1
        self._saved_time = time.monotonic()
        work_dir = Path(runner.work_dir)
        self.best = self._saver.begin_continuation(work_dir, runner.iter, self.best)

    def all_write(self, runner: RunnerProtocol) -> bool:
        """Whether all processes of this run write its checkpoints."""
        return is_sharded(runner.model) if self.sharded is None else self.sharded

    def _named(self, runner: RunnerProtocol, name: str) -> str:
        """The whole name of the checkpoint that is about to be written."""
        self._last = Path(runner.work_dir) / f'{name}{SHARDED if self._saver.group else ".pth"}'
        return self._last.name

    def _is_joint(self, runner: RunnerProtocol) -> bool:
        """Whether all processes have something to do for a save."""
        return self._saver.group is not None or is_sharded(runner.model)

    def _said_by_first(self, runner: RunnerProtocol, question: Callable[[], bool]) -> bool:
        """The answer of the first process where all take part in a save, else one's own."""
        return on_main(question) if self._is_joint(runner) else question()

    def _must_save(self, step: int) -> bool:
        return self._saved_step != step or self._saver.writer.failure is not None

    def _is_due(self, runner: RunnerProtocol, done: int) -> bool:
        if self.by == 'iter':
            return done % int(self.interval) == 0
        if self._is_joint(runner) and done % _ASKED:
            return False
        return self._said_by_first(runner, self._is_time)

    def _is_time(self) -> bool:
        return is_main_process() and time.monotonic() - self._saved_time >= 60 * self.interval

    def _save(self, runner: RunnerProtocol, name: str, step: int) -> None:
        self._saved_time = time.monotonic()
        self._saved_step = step
        if is_main_process() or self._is_joint(runner):
            self._saver.save(runner, self._named(runner, name), step)

    def _prepare(self, runner: RunnerProtocol) -> list[str]:
        """Check work dir and disk, in the first process; returns warnings."""
        work_dir = Path(runner.work_dir)
        kept = self._saver.kept
        messages = []
        if 0 < self.max_keep < kept:
            messages.append(
                f'default_hooks.checkpoint.max_keep={self.max_keep} has no effect: {kept} stay'
            )
        if stale := [*remove_stale_temporaries(work_dir), *remove_lone_manifests(work_dir)]:
            messages.append(f'{work_dir}: removed what a killed run left: {", ".join(stale)}')
        if message := check_space(work_dir, runner.bare_model, kept):
            messages.append(message)
        return messages

    def _report(self, runner: RunnerProtocol) -> None:
        self._log_messages(runner)
        if not isinstance(self._saver.writer.failure, OSError | None):
            self._saver.writer.raise_failure()

    def _log_messages(self, runner: RunnerProtocol) -> None:
        for message in self._saver.writer.messages():
            runner.logger.warning(message)


def write_weights_of(folder: Path, path: Path) -> None:
    """Write the weights of a folder as one file, with what is said of them.

    Raises:
        CheckpointError: the folder cannot be read.
        SaveError: the disk refused.
    """
    found = read_sharded(folder, only='state_dict')
    weights = {key: found[key] for key in ('meta', 'state_dict')}
    try:
        save_checkpoint(weights, path)
    except OSError as error:
        raise SaveError(f'{path} could not be saved: {error}; {folder} is whole') from error


def check_space(work_dir: Path, model: nn.Module, kept: int) -> str | None:
    """Compare the free space of a work dir with what a run will write there.

    Args:
        model: its weights take a third of a checkpoint.
        kept: number of checkpoints that stay; one more is being written.

    Returns:
        A warning if the disk cannot hold all of them.

    Raises:
        CheckpointError: it cannot hold one.
    """
    one = checkpoint_bytes(model)
    free = shutil.disk_usage(work_dir).free
    if free < one:
        raise CheckpointError(
            f'{work_dir} has {readable_size(free)} free, and one checkpoint takes about '
            f'{readable_size(one)}; free some space, or choose another work_dir'
        )
    there = sum(size_of(f.path) for f in list_checkpoints(work_dir) if is_present(f.path))
    needed = one * (kept + 1)
    if free + there < needed:
        return (
            f'{work_dir} has {readable_size(free)} free, and {kept + 1} checkpoints take about '
            f'{readable_size(needed)}; saving will fail when it is full'
        )
    return None


def _unit(by: str | None, by_epoch: bool | None) -> str:
    if by is None:
        return 'iter' if by_epoch is False else 'epoch'
    if by not in ('epoch', 'iter', 'minutes'):
        raise ValueError(
            f"default_hooks.checkpoint.by must be 'epoch', 'iter' or 'minutes', not {by!r}"
        )
    if by_epoch is not None and by_epoch != (by == 'epoch'):
        raise ValueError(
            f'default_hooks.checkpoint says both by={by!r} and by_epoch={by_epoch}; keep by'
        )
    return by
