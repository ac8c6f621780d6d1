"""How far a run is, where somebody watches: a live line on a terminal, a bar in a notebook."""

import logging
import time
from collections.abc import Callable, Sequence
from shutil import get_terminal_size
from typing import Any, Protocol, TextIO

from mmengine.hooks import Hook

from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.step_report import StepReport
from mae.registry import HOOKS
from mae.utils.command_line import in_notebook
from mae.visualization.runs.progress import Progress, progress_html, progress_line

_SECONDS = {'terminal': 0.5, 'notebook': 2.0}  # least time between two drawings
_KEPT = 200  # points of the chart: more are halved
_MEMORY = 0.98  # of the mean of loss and time from one step to the next
_CLEAR = '\r\x1b[K'  # the line, by the control sequence that every terminal knows


class Display(Protocol):
    """Where progress is shown."""

    seconds: float

    def show(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows progress, loss, images per second and time left, without waiting for the device.

    On a terminal as a line below the log that is drawn over; in a notebook as a bar and a chart of
    the loss, in place of the log's lines, of which only warnings are shown. Elsewhere, as in a file
    or a pipe, it shows nothing and the log stays as it is. The first process alone shows it.
    """

    priority = 'LOWEST'  # behind hooks that log
    needs_train_loop = True

    def __init__(self) -> None:
        self._display: Display | None = None
        self._next = 0.0
        self._loss: float | None = None
        self._losses: list[tuple[int, float]] = []
        self._every = 1  # steps between two points of the chart

    def before_train(self, runner: TrainingRunner) -> None:
        """Find out where to show it."""
        self._display = None if runner.rank else _display_of(runner.logger)
        if self._display is None:
            return
        self._step_size = runner.train_loop.dataloader.step_size(0)
        self._last = time.monotonic()
        self._per_step: float | None = None

    def after_report(self, runner: TrainingRunner, report: StepReport) -> None:
        """Take the loss of a step, which is on the host already."""
        if self._display is None or report.skipped:
            return
        old = self._loss
        self._loss = report.loss if old is None else _MEMORY * old + (1 - _MEMORY) * report.loss
        if report.step % self._every == 0:
            self._losses.append((report.step + 1, report.loss))
            if len(self._losses) >= 2 * _KEPT:
                self._losses, self._every = self._losses[1::2], 2 * self._every

    def after_step(self, runner: TrainingRunner) -> None:
        """Draw, if the last drawing is old enough."""
        if self._display is None:
            return
        now = time.monotonic()
        taken, self._last = now - self._last, now
        old = self._per_step
        self._per_step = taken if old is None else _MEMORY * old + (1 - _MEMORY) * taken
        if now >= self._next:
            self._draw(runner)

    def before_val_epoch(self, runner: TrainingRunner) -> None:
        self._draw(runner, 'validating')

    def after_val_epoch(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._last = time.monotonic()  # of which a step took no part

    def after_all(self, runner: TrainingRunner) -> None:
        """Draw once more, and leave the log alone from now on."""
        if self._display is not None:
            self._draw(runner)
            self._display.close()
        self._display = None

    def _draw(self, runner: TrainingRunner, doing: str = '') -> None:
        if self._display is None:
            return
        per_step = self._per_step or 0.0
        self._display.show(
            Progress(
                step=runner.iter,
                steps=runner.max_iters,
                epoch=min(runner.epoch + 1, runner.max_epochs),
                epochs=runner.max_epochs,
                loss=self._loss,
                images_per_second=self._step_size / per_step if per_step else 0.0,
                seconds_left=per_step * (runner.max_iters - runner.iter),
                losses=list(self._losses),
                doing=doing,
            )
        )
        self._next = time.monotonic() + self._display.seconds


class LiveLine:
    """A line of a terminal that is drawn over, and cleared before each line of the log.

    Args:
        handlers: that write to the terminal.
        stream: the terminal.
    """

    seconds = _SECONDS['terminal']

    def __init__(self, handlers: Sequence[logging.Handler], stream: TextIO) -> None:
        self._handlers, self._stream = handlers, stream
        self._is_drawn = False
        for handler in handlers:
            handler.addFilter(self._make_room)

    def show(self, progress: Progress) -> None:
        """Draw the line, no longer than the terminal is wide."""
        text = progress_line(progress, get_terminal_size().columns - 1)
        self._write(f'{_CLEAR}{text}')
        self._is_drawn = True

    def close(self) -> None:
        """Clear the line; the log has the rest."""
        self._make_room()
        for handler in self._handlers:
            handler.removeFilter(self._make_room)

    def _make_room(self, record: logging.LogRecord | None = None) -> bool:
        if self._is_drawn:
            self._write(_CLEAR)
        self._is_drawn = False
        return True

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the run goes on
            self._is_drawn = False


class NotebookBar:
    """A bar and a chart that take the place of the log's lines in a notebook.

    Args:
        handlers: that write into the notebook.
        display: IPython's `display`, which returns a handle to update what it shows.
        html: IPython's `HTML`.
    """

    seconds = _SECONDS['notebook']

    def __init__(
        self,
        handlers: Sequence[logging.Handler],
        display: Callable[..., Any],
        html: Callable[[str], Any],
    ) -> None:
        self._handlers, self._display, self._html = handlers, display, html
        self._handle: Any = None
        for handler in handlers:
            handler.addFilter(_is_warning)

    def show(self, progress: Progress) -> None:
        """Draw in the place of the last drawing."""
        content = self._html(progress_html(progress))
        if self._handle is None:
            self._handle = self._display(content, display_id=True)
        else:
            self._handle.update(content)

    def close(self) -> None:
        """Leave the last drawing."""
        for handler in self._handlers:
            handler.removeFilter(_is_warning)


def _display_of(logger: logging.Logger) -> Display | None:
    """Where the log of a run is watched: a notebook, a terminal, or nowhere."""
    found = [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler)
        and not isinstance(handler, logging.FileHandler)
    ]
    if in_notebook():
        from IPython.display import HTML, display

        return NotebookBar(found, display, HTML)
    for handler in found:
        if handler.stream.isatty():
            return LiveLine(found, handler.stream)
    return None


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
