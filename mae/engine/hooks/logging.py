"""Logging that costs a step nothing: values stay on the device until a line is due.

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
from torch import Tensor

from mae.engine.history import begin_with_history
from mae.registry import HOOKS
from mae.utils import strict_json
from mae.utils.runner_protocol import RunnerProtocol


@HOOKS.register_module()
class RuntimeInfoHook(MMRuntimeInfoHook):
    """Tells epoch, step and learning rate to who asks; the losses are `LoggerHook`'s."""

    def before_run(self, runner: RunnerProtocol) -> None:
        """Note what the run is; its config is a file in the work dir."""
        info = {'seed': runner.seed, 'experiment_name': runner.experiment_name}
        runner.message_hub.update_info_dict(info)
        self.last_loop_stage = None

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: reading the losses would wait for the device."""


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Prints and stores a line every `interval` steps of an epoch and at its end.

    Values are means over the last `log_processor.window_size` steps since the line before. A disk
    that refuses them is told of once and does not stop the run. The scalars of a resumed run begin
    with those of the run before, up to its checkpoint.

    Args:
        ignore_last: leave out the line at the end of an epoch.
        options: further arguments of mmengine's hook, such as `interval`.
    """

    def __init__(self, *, ignore_last: bool = False, **options: Any) -> None:
        super().__init__(ignore_last=ignore_last, **options)
        self._has_begun = False
        self._has_warned = False

    def before_run(self, runner: RunnerProtocol) -> None:
        """Let the log file, too, fail in silence after a first word."""
        super().before_run(runner)
        of_run = ref(runner)  # loggers outlive their run, and would keep its model in memory

        def warn(record: logging.LogRecord) -> None:
            if (alive := of_run()) is not None:
                self._warn(alive)

        for handler in runner.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = warn  # type: ignore[method-assign]

    def before_train_epoch(self, runner: RunnerProtocol) -> None:
        """Start with nothing to tell, also where a run has gone back."""
        self._steps: list[Mapping[str, Tensor]] = []
        if runner.iter == (runner.epoch + 1) * len(runner.train_dataloader):  # evaluations follow
            self._begin(runner)

    def after_train_iter(
        self,
        runner: RunnerProtocol,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Keep the outputs; where a line is due, read all of them back at once."""
        self._begin(runner)
        if outputs:  # a step that was left out has none
            self._steps.append(outputs)
        done = batch_idx + 1
        if done % self.interval and done != len(runner.train_dataloader):
            return
        history = runner.message_hub.log_scalars
        for name, values in _columns(self._steps).items():
            history[f'train/{name}'] = HistoryBuffer(values, [1] * len(values))
        with self._surviving(runner):
            self._log(runner, batch_idx)
        self._steps.clear()
        for name in [name for name in history if name.startswith('train/')]:
            history[name] = HistoryBuffer()

    def _log(self, runner: RunnerProtocol, batch_idx: int) -> None:
        """As mmengine's, without a line for the name of the run before each."""
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
        with self._surviving(runner):
            super().after_val_epoch(runner, metrics)

    def _begin(self, runner: RunnerProtocol) -> None:
        """Not before the first step: a run that fails until then leaves nothing behind."""
        if not self._has_begun and runner.resumed_from is not None:
            with self._surviving(runner):
                begin_with_history(runner)
        self._has_begun = True

    @contextmanager
    def _surviving(self, runner: RunnerProtocol) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._warn(runner, error)

    def _warn(self, runner: RunnerProtocol, error: OSError | None = None) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        # Reaches the terminal: the log file is what may be full.
        reason = error or 'the log file cannot be written'
        runner.logger.warning(f'logging failed ({reason}); training goes on without it')


def _columns(steps: Sequence[Mapping[str, Tensor]]) -> dict[str, list[float]]:
    """The values of each output, in the order of the steps."""
    names = steps[0] if steps else ()
    return {
        name: torch.stack([torch.as_tensor(step[name]) for step in steps]).tolist()
        for name in names
    }
