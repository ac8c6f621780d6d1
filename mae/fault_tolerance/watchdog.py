"""Ends a run that hangs, with an error line, the stacks of all threads and status 1."""

import faulthandler
import math
import multiprocessing
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TextIO

from mmengine.hooks import Hook

from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS
from mae.utils.data_workers import TELL_STACK
from mae.utils.distributed import TIMEOUT


@HOOKS.register_module()
class WatchdogHook(Hook):
    """Ends the process if a step, the wait for its data or a validation batch takes too long.

    Hooks at the end of an epoch are not timed. A step reads the clock twice: a thread compares the
    times, and renews a timer of `faulthandler`, which ends the process if the thread cannot run.

    Args:
        seconds: time without progress; by default `env_cfg.dist_cfg.timeout` (600), after which
            collective operations fail too.
    """

    priority = 'VERY_HIGH'

    def __init__(self, *, seconds: float | None = None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f'default_hooks.watchdog.seconds must be positive, not {seconds}')
        self.seconds = seconds
        self._doing = ''
        self._since = math.inf  # no timing
        self._closed = threading.Event()

    def before_train(self, runner: TrainingRunner) -> None:
        configured = runner.cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', TIMEOUT)
        limit = float(configured if self.seconds is None else self.seconds)
        self._closed.clear()
        threading.Thread(
            target=self._watch, args=(runner, limit), name='watchdog', daemon=True
        ).start()

    def before_train_epoch(self, runner: TrainingRunner) -> None:
        self._begin('waiting for data')

    def before_train_iter(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._begin('in a training step')

    def after_step(self, runner: TrainingRunner) -> None:
        self._begin('waiting for data')

    def after_train_epoch(self, runner: TrainingRunner) -> None:
        self._since = math.inf

    def before_val_epoch(self, runner: TrainingRunner) -> None:
        self._begin('validating')

    def after_val_iter(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._begin('validating')

    def after_val_epoch(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._since = math.inf

    def after_all(self, runner: TrainingRunner) -> None:
        """Stop the thread, however the run ended."""
        self._since = math.inf
        self._closed.set()

    def _begin(self, what: str) -> None:
        self._doing = what
        self._since = time.monotonic()

    def _watch(self, runner: TrainingRunner, limit: float) -> None:
        stderr = _stderr()
        while not self._closed.wait(min(limit / 8, 5.0)):
            if time.monotonic() - self._since > limit:
                self._give_up(runner, limit, stderr)
                return
            if stderr is not None:
                faulthandler.dump_traceback_later(1.5 * limit + 10, exit=True, file=stderr)
        faulthandler.cancel_dump_traceback_later()

    def _give_up(self, runner: TrainingRunner, limit: float, stderr: TextIO | None) -> None:
        rank = f'[rank {runner.rank}] ' if runner.distributed else ''
        reason = f'no progress for {limit:g} s after step {runner.iter}, {self._doing}'
        with suppress(Exception):
            if runner.run_state is not None:
                runner.run_state.write(state='failed', reason=reason, step=runner.iter, exit_code=1)
            print(f'{rank}error: {reason}; the stacks follow', file=sys.stderr, flush=True)
        if stderr is not None:
            faulthandler.dump_traceback(stderr, all_threads=True)
        for worker in multiprocessing.active_children():
            if worker.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, TELL_STACK)
        time.sleep(0.5)  # for the workers to print
        end_process(1)


def end_process(code: int) -> None:
    """End the process from a thread, without waiting for the main thread."""
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(code)


def _stderr() -> TextIO | None:
    """The stream for `faulthandler`; None if stderr has no file descriptor."""
    stream = sys.__stderr__
    with suppress(AttributeError, OSError, ValueError):
        assert stream is not None
        stream.fileno()
        return stream
    return None
