"""Steps whose loss or gradients are not finite: counted, logged, and a reason to go back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.hooks import Hook, IterTimerHook
from torch import Tensor

from mae.fault_tolerance.autopsy import ProcessStep, norms_by_module, write_autopsy
from mae.fault_tolerance.checkpoint import verified
from mae.fault_tolerance.checkpoint.hook import CheckpointHook
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.signals import RolledBack
from mae.fault_tolerance.step_report import StepReport
from mae.registry import HOOKS
from mae.utils.errors import NonFiniteError
from mae.utils.norm_statistics import norm_buffers

# A gradient scaler starts at 65536 and halves at each overflow: this often in a row, it searches
# no more.
_SCALER_SEARCH = 30


@dataclass
class BadSteps:
    """Bad steps so far.

    Attributes:
        in_row: bad steps since the last good one.
        first, last: first and last step of that row.
        scaler_skips: steps that a gradient scaler skipped to find its scale; they are no errors.
        scaler_in_row: such steps since the last good one.
        rollbacks: how often the run has gone back.
        left_out: ranges a <= step < b that are no longer trained on.
    """

    total: int = 0
    in_row: int = 0
    first: int = -1
    last: int = -1
    scaler_skips: int = 0
    scaler_in_row: int = 0
    rollbacks: int = 0
    left_out: list[tuple[int, int]] = field(default_factory=list)

    def take(self, report: StepReport, scaled: bool) -> bool:
        """Count a step; returns whether it was bad.

        Args:
            scaled: whether a gradient scaler is in use.
        """
        if not report.skipped:
            self.in_row = self.scaler_in_row = 0
            return False
        if scaled and math.isfinite(report.loss) and self.scaler_in_row < _SCALER_SEARCH:
            self.scaler_skips += 1
            self.scaler_in_row += 1
            return False
        self.total += 1
        self.in_row += 1
        self.last = report.step
        if self.in_row == 1:
            self.first = report.step
        return True

    def go_back(self, step: int, margin: int) -> None:
        """Note that the run goes back to `step` and skips the row and `margin` steps before it."""
        self.left_out.append((max(step, self.first - margin), self.last + 1))
        self.rollbacks += 1
        self.in_row = self.scaler_in_row = 0

    def state(self) -> dict[str, Any]:
        """As plain values, for `from_state`."""
        return {**asdict(self), 'left_out': [list(steps) for steps in self.left_out]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> 'BadSteps':
        ranges: Sequence[Sequence[int]] = state['left_out']
        counts = {name: int(value) for name, value in state.items() if name != 'left_out'}
        return cls(**counts, left_out=[(int(start), int(stop)) for start, stop in ranges])


_SHOWN = 16  # sample ids in a line of the log
_KEPT = ('ids', 'keys')  # of a batch


Batches = Sequence[Mapping[str, Tensor]]  # the micro-batches of a step


@dataclass
class _Step:
    """What the guard needs of a step besides its report, until the report arrives.

    Attributes:
        batches: ids and keys of each micro-batch; its images would stay in memory.
    """

    batches: Batches
    losses: list[Tensor]
    grad_norms: Tensor | None
    lr: float


@HOOKS.register_module()
class GuardHook(Hook):
    """Handles steps that the optimizer skipped because a loss or gradient was not finite.

    Each is counted and logged with its samples; for the first of a row an autopsy file is written.
    After `patience` in a row the run goes back to the last checkpoint before them and does not
    train on these steps and `margin` steps before, while the schedule goes on. Checkpoints hold the
    skipped ranges, so that a resumed run skips the same.

    Args:
        patience: bad steps in a row before the run goes back.
        max_rollbacks: how often it goes back before it ends with an error.
        margin: steps before the first bad one that are skipped as well; by default `patience`.
        max_autopsies: maximum number of autopsy files.

    Raises:
        ValueError: `patience` is below 1, or another number below 0.
    """

    priority = 'VERY_HIGH'  # before the averages and before the checkpoint
    needs_train_loop = True

    def __init__(
        self,
        *,
        patience: int = 10,
        max_rollbacks: int = 2,
        margin: int | None = None,
        max_autopsies: int = 20,
    ) -> None:
        margin = patience if margin is None else margin
        if patience < 1 or min(max_rollbacks, margin, max_autopsies) < 0:
            raise ValueError(
                'default_hooks.guard needs patience >= 1, and max_rollbacks, margin and '
                f'max_autopsies >= 0, not {patience}, {max_rollbacks}, {margin}, {max_autopsies}'
            )
        self.patience = patience
        self.max_rollbacks = max_rollbacks
        self.margin = margin
        self.count = BadSteps()
        self._autopsies_left = max_autopsies
        self._found: BadSteps | None = None
        self._statistics: list[Tensor] = []
        self._steps: dict[int, _Step] = {}

    # --- around a step --------------------------------------------------------------------

    def before_train(self, runner: TrainingRunner) -> None:
        """Restore the count of a resumed run; find the buffers that a forward pass changes."""
        if runner.iter and self._found is not None:
            self.count = self._found
        runner.train_loop.left_out = self.count.left_out
        self._statistics = norm_buffers(runner.model)
        self._steps.clear()
        wrapper = runner.optim_wrapper
        if wrapper.skipped.is_cuda and not (wrapper.skips_on_device or wrapper.is_scaled):
            runner.logger.warning(
                f'{type(wrapper.optimizer).__name__} cannot skip a step on the device: each step '
                'waits for it; give optim_wrapper.optimizer fused=True'
            )

    def before_train_epoch(self, runner: TrainingRunner) -> None:
        """Go back if the run was interrupted just before that."""
        if self.count.in_row >= self.patience:
            self._go_back(runner)

    def before_train_iter(
        self, runner: TrainingRunner, batch_idx: int, data_batch: object = None
    ) -> None:
        """Copy the statistics of batch norms."""
        self._kept = [buffer.clone() for buffer in self._statistics]

    def after_train_iter(
        self,
        runner: TrainingRunner,
        batch_idx: int,
        data_batch: Batches = (),
        outputs: object = None,
    ) -> None:
        """Restore the statistics if the step was skipped; keep what a bad report will need."""
        if outputs is None:
            return
        wrapper = runner.optim_wrapper
        for buffer, kept in zip(self._statistics, self._kept, strict=True):
            buffer.copy_(torch.where(wrapper.skipped > 0, kept, buffer))
        lr = max(group['lr'] for group in wrapper.param_groups)
        names = [{name: batch[name] for name in _KEPT} for batch in data_batch]
        self._steps[runner.iter] = _Step(names, wrapper.losses, wrapper.grad_norms, lr)

    def after_report(self, runner: TrainingRunner, report: StepReport) -> None:
        """Log a bad step and perhaps go back, in all processes alike."""
        step = self._steps.pop(report.step)
        if not self.count.take(report, runner.optim_wrapper.is_scaled):
            return
        self._log_bad_step(runner, report, step)
        if self.count.in_row >= self.patience:
            self._go_back(runner)

    # --- checkpoints ----------------------------------------------------------------------

    def before_save_checkpoint(self, runner: TrainingRunner, checkpoint: Checkpoint) -> None:
        """Store the count, including steps whose reports have not been handled yet."""
        count = BadSteps.from_state(self.count.state())
        for report in runner.train_loop.reports.peek():
            if count.in_row < self.patience:  # else the run goes back and drops the rest
                count.take(report, runner.optim_wrapper.is_scaled)
        checkpoint['meta']['bad_steps'] = count.state()

    def after_load_checkpoint(self, runner: TrainingRunner, checkpoint: Checkpoint) -> None:
        meta = checkpoint.get('meta')
        found = meta.get('bad_steps') if isinstance(meta, dict) else None
        self._found = BadSteps.from_state(found) if found else None

    # --- logging --------------------------------------------------------------------------

    def _log_bad_step(self, runner: TrainingRunner, report: StepReport, kept: _Step) -> None:
        own: ProcessStep = {
            'rank': runner.rank,
            'losses': torch.stack(kept.losses).tolist(),
            'ids': [i for batch in kept.batches for i in batch['ids'].tolist()],
            'keys': [key for batch in kept.batches for key in batch['keys'].tolist()],
        }
        processes: list[ProcessStep] = all_gather_object(own)
        if not is_main_process():
            return
        runner.logger.warning(_line(report, processes, self.count))
        if runner.run_state is not None:
            runner.run_state.write(
                bad_steps=self.count.total, rollbacks=self.count.rollbacks, step=runner.iter
            )
        if self.count.in_row == 1 and self._autopsies_left:
            self._autopsies_left -= 1
            norms = norms_by_module(
                runner.bare_model, runner.optim_wrapper.optimizer, kept.grad_norms
            )
            for hook in _checkpoint_hooks(runner):
                hook.wait()  # the replay starts from a checkpoint on the disk
            try:
                path = write_autopsy(runner, report, processes, norms, lr=kept.lr)
            except OSError as error:
                runner.logger.warning(f'no autopsy file: {error}')
            else:
                runner.logger.warning(f'see {path}')

    # --- going back -----------------------------------------------------------------------

    def _go_back(self, runner: TrainingRunner) -> None:
        count = self.count
        steps = f'steps {count.first} to {count.last}'
        what = f'{steps}: loss or gradients were not finite in {count.in_row} steps in a row'
        advice = 'lower base_lr, clip gradients or use bfloat16, and look at the autopsy files'
        if count.rollbacks >= self.max_rollbacks:
            raise NonFiniteError(f'{what}, after {count.rollbacks} times going back; {advice}')
        savers = _checkpoint_hooks(runner)
        for hook in savers:
            hook.wait()
        found: list[tuple[int, str] | None]
        found = [_sound_checkpoint(runner, count.first) if is_main_process() else None]
        broadcast_object_list(found)
        if found[0] is None:
            raise NonFiniteError(
                f'{what}, and {runner.work_dir} has no sound checkpoint to go back to; {advice}'
            )
        step, path = found[0]
        count.go_back(step, self.margin)
        start, stop = count.left_out[-1]
        runner.logger.warning(
            f'{what}: going back to {path}, leaving out steps {start} to {stop - 1}'
        )
        runner.resume(path)
        runner.train_loop.left_out = count.left_out
        self._steps.clear()
        for hook in savers:
            hook.begin_continuation(runner)
        for hook in runner.hooks:
            if isinstance(hook, IterTimerHook):  # measures from its first step
                hook.time_sec_tot = 0
                hook.before_train(runner)
        if runner.run_state is not None:
            runner.run_state.write(rollbacks=count.rollbacks, step=runner.iter)
        raise RolledBack


def _checkpoint_hooks(runner: TrainingRunner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _sound_checkpoint(runner: TrainingRunner, first_bad: int) -> tuple[int, str] | None:
    """(step, path) of the newest checkpoint with finite weights.

    Preferably from before the first bad step: a later one may fail at every step.
    """
    sound = [
        (found.step, str(found.path))
        for found in verified(Path(runner.work_dir))
        if found.record is not None and found.record.finite and found.step <= runner.iter
    ]
    return next((entry for entry in sound if entry[0] < first_bad), sound[0] if sound else None)


def _line(report: StepReport, processes: Sequence[ProcessStep], count: BadSteps) -> str:
    where = [p for p in processes if not all(map(_is_number, p['losses']))] or processes
    ids = [number for process in where for number in process['ids']]
    shown = ', '.join(map(str, ids[:_SHOWN])) + (', ...' if len(ids) > _SHOWN else '')
    ranks = ''
    if len(where) < len(processes):
        ranks = f' on rank {", ".join(str(process["rank"]) for process in where)}'
    losses = [loss for process in where for loss in process['losses'] if not _is_number(loss)]
    what = f'loss is {losses[0]}{ranks}' if losses else 'gradients are not finite'
    return (
        f'step {report.step}: {what}; skipped ({count.in_row} in a row, {count.total} in all); '
        f'samples {shown}'
    )


def _is_number(value: float) -> bool:
    return abs(value) < float('inf')  # False for NaN
