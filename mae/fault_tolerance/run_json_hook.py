"""Keeping `run.json` up to date while a run goes on."""

import time
from typing import Any

from mmengine.hooks import Hook

from mae.registry import HOOKS


@HOOKS.register_module()
class RunStateHook(Hook):
    """Notes the step in `run.json`, at most every few seconds.

    Args:
        seconds: between two notes.
    """

    priority = 'VERY_LOW'

    def __init__(self, *, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._next = 0.0

    def before_train(self, runner: Any) -> None:
        self._note(
            runner,
            state='running',
            max_steps=runner.max_iters,
            resumed_from=runner.resumed_from,
        )

    def after_step(self, runner: Any) -> None:
        if time.monotonic() >= self._next:
            self._note(runner)

    def after_train_epoch(self, runner: Any) -> None:
        self._note(runner)

    def after_all(self, runner: Any) -> None:
        """How far it came, however it ended."""
        if runner.run_state is not None and not runner.run_state.is_over:
            self._note(runner)

    def _note(self, runner: Any, **changes: Any) -> None:
        self._next = time.monotonic() + self.seconds
        if runner.run_state is not None:
            runner.run_state.write(step=runner.iter, epoch=runner.epoch, **changes)
