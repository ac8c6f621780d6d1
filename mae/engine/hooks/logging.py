"""Logging without waiting for the device: values stay there until a line is due.

mmengine reads every value back at every step, which waits for the device, and copies a history
that grows with the run each time.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

import torch
from mmengine.hooks import LoggerHook as MMLoggerHook
from mmengine.hooks import RuntimeInfoHook as MMRuntimeInfoHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import LogProcessor as MMLogProcessor
from torch import Tensor

from mae.engine.history import begin_with_history
from mae.registry import HOOKS, LOG_PROCESSORS
from mae.utils import strict_json
from mae.utils.hardware import cores_at_hand
from mae.utils.runner_protocol import RunnerProtocol

_TIMES = ('time', 'data_time')
_MOST_WAITING = 0.05  # share of a step's time
_FEWEST_STEPS = 10  # from which a share is more than chance


@LOG_PROCESSORS.register_module()
class LogProcessor(MMLogProcessor):
    """Formats lines as mmengine does; small numbers of an evaluation keep their digits."""

    def get_log_after_epoch(
        self,
        runner: RunnerProtocol,
        batch_idx: int,
        mode: str,
        with_non_scalar: bool = False,
    ) -> tuple[dict[str, Any], str]:
        """The values by name, and the line: a penalty of 1e-5 is not printed as 0.0000."""
        tag, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        for name, value in tag.items():
            is_small = isinstance(value, float) and 0 < abs(value) < 10 ** (1 - self.num_digits)
            if is_small and name not in _TIMES:
                rounded = f' {name}: {value:.{self.num_digits}f}'
                line = line.replace(rounded, f' {name}: {value:.3g}', 1)
        return tag, line


@HOOKS.register_module()
class RuntimeInfoHook(MMRuntimeInfoHook):
    """Puts epoch, step and learning rate into the message hub; the losses are `LoggerHook`'s."""

    def before_run(self, runner: RunnerProtocol) -> None:
        """Note seed and name of the run; its config is a file in the work dir."""
        info = {'seed': runner.seed, 'experiment_name': runner.experiment_name}
        runner.message_hub.update_info_dict(info)
        self.last_loop_stage = None

    def after_train_iter(self, *args: object, **kwargs: object) -> None:
        """Do nothing: reading the losses would wait for the device."""


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Prints and stores a line every `interval` steps of an epoch and at its end.

    Values are means over the last `log_processor.window_size` steps since the previous line. An
    error of the disk is logged once and does not stop the run. The scalars of a resumed run begin
    with those up to its checkpoint.

    Args:
        ignore_last: no line at the end of an epoch.
        options: further arguments of mmengine's hook, such as `interval`.
    """

    def __init__(self, *, ignore_last: bool = False, **options: object) -> None:
        super().__init__(ignore_last=ignore_last, **options)
        self._has_begun = False
        self._has_warned = False
        self._has_told_of_loader = False

    def before_run(self, runner: RunnerProtocol) -> None:
        """Warn once about errors of the log file, too."""
        super().before_run(runner)
        of_run = ref(runner)  # loggers outlive their run, and would keep its model in memory

        def warn(record: logging.LogRecord) -> None:
            if (alive := of_run()) is not None:
                self._warn(alive)

        for handler in runner.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = warn  # type: ignore[method-assign]

    def before_train_epoch(self, runner: RunnerProtocol) -> None:
        """Start without values, also after the run has gone back."""
        self._steps: list[Mapping[str, Tensor]] = []
        self._left_out = 1
        if runner.iter == (runner.epoch + 1) * len(runner.train_dataloader):  # evaluations follow
            self._begin_history(runner)

    def after_train_iter(
        self,
        runner: RunnerProtocol,
        batch_idx: int,
        data_batch: object = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Keep the outputs; when a line is due, read all of them at once."""
        self._begin_history(runner)
        if outputs:  # a skipped step has none
            self._steps.append(outputs)
        done = batch_idx + 1
        if done % self.interval and done != len(runner.train_dataloader):
            return
        history = runner.message_hub.log_scalars
        for name, values in _columns(self._steps).items():
            history[f'train/{name}'] = HistoryBuffer(values, [1] * len(values))
        with self._warn_of_disk_errors(runner):
            self._log(runner, batch_idx)
        if not self._has_told_of_loader:
            self._say_if_loader_bound(runner, self._left_out)
        self._left_out = 0
        self._steps.clear()
        for name in [name for name in history if name.startswith('train/')]:
            history[name] = HistoryBuffer()

    def _say_if_loader_bound(self, runner: RunnerProtocol, left_out: int) -> None:
        """Once a run, a line if the steps since the last line waited long for their batches.

        On a GPU the host is ahead, so it waits for the loader only where the device does, too.

        Args:
            left_out: number of steps not looked at: the first of an epoch waits for the workers to
                start.
        """
        scalars = runner.message_hub.log_scalars
        if not {'train/data_time', 'train/time'} <= set(scalars):
            return
        waits = scalars['train/data_time'].data[0][left_out:]
        steps = scalars['train/time'].data[0][left_out:]
        share = sum(waits) / max(sum(steps), 1e-9)
        if len(steps) < _FEWEST_STEPS or share <= _MOST_WAITING:
            return
        self._has_told_of_loader = True
        workers = getattr(runner.train_dataloader, 'num_workers', None)
        given = '' if workers is None else f' (train_dataloader.num_workers is {workers})'
        runner.logger.info(
            f'the loader is the bound: {share:.0%} of the time of a step, '
            f'{sum(steps) / len(steps):.2g} s, is waiting for its images; this process has '
            f'{cores_at_hand()} cores{given}; more cores and workers or packed images '
            '(tools/data/pack.py) help'
        )

    def _log(self, runner: RunnerProtocol, batch_idx: int) -> None:
        """Log as mmengine does, without the name of the run."""
        done = batch_idx + 1
        is_last = self.ignore_last and done % self.interval != 0
        if is_last and len(runner.train_dataloader) > self.interval:
            return
        tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
        runner.logger.info(line)
        runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    @staticmethod
    def _process_tags(tags: dict[str, Any]) -> Any:
        return strict_json.finite_or_word(MMLoggerHook._process_tags(tags))

    def after_val_epoch(
        self, runner: RunnerProtocol, metrics: dict[str, float] | None = None
    ) -> None:
        with self._warn_of_disk_errors(runner):
            super().after_val_epoch(runner, metrics)

    def _begin_history(self, runner: RunnerProtocol) -> None:
        """At the first step, so that a run that fails before leaves no file."""
        if not self._has_begun and runner.resumed_from is not None:
            with self._warn_of_disk_errors(runner):
                begin_with_history(runner)
        self._has_begun = True

    @contextmanager
    def _warn_of_disk_errors(self, runner: RunnerProtocol) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._warn(runner, error)

    def _warn(self, runner: RunnerProtocol, error: OSError | None = None) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        # This reaches the terminal even if the log file is full.
        reason = error or 'the log file cannot be written'
        runner.logger.warning(f'logging failed ({reason}); training goes on without it')


def _columns(steps: Sequence[Mapping[str, Tensor]]) -> dict[str, list[float]]:
    """The values of each output, in the order of the steps."""
    names = dict.fromkeys(name for step in steps for name in step)
    return {
        name: torch.stack([torch.as_tensor(step[name]) for step in steps if name in step]).tolist()
        for name in names
    }
