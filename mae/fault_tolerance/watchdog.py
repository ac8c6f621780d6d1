"""Ends a run that hangs, with an error line, the stacks of all threads and status 1."""

import faulthandler
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, TextIO

from mmengine.hooks import Hook

from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS
from mae.utils.data_workers import TELL_STACK
from mae.utils.distributed import Timeouts, set_timeout

_LEEWAY = 5.0  # seconds for torch to raise an error of its own, which says more
# Seconds for the timer of `faulthandler`, which counts those in which the process is stopped, too.
_STUCK = 3600.0


@HOOKS.register_module()
class WatchdogHook(Hook):
    """Ends the process if a step, the wait for its data or a validation batch takes too long.

    The first step of an epoch and validation have the limit of a start, since they may compile, and
    other processes may still be busy with what hooks do at the end of an epoch, which is not timed.
    Collective operations have the same two limits.

    A thread checks for progress several times within a limit. Time in which the thread itself could
    not run is left out, as while the process is stopped by SIGSTOP. At each check it renews a timer
    of `faulthandler`, which ends the process an hour after the limit if the thread cannot run.

    Args:
        seconds: time without progress, of both kinds; by default `env_cfg.dist_cfg.timeout` (120)
            and `env_cfg.dist_cfg.start_timeout` (600). Those of collective operations stay.
    """

    priority = 'VERY_HIGH'

    def __init__(self, *, seconds: float | None = None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f'default_hooks.watchdog.seconds must be positive, not {seconds}')
        self.seconds = seconds
        self._doing = ''  # without a word nothing is timed
        self._progress = 0
        self._limits = self._collective = Timeouts.of({})
        self._limit = self._limits.start
        self._closed = threading.Event()

    def before_train(self, runner: TrainingRunner) -> None:
        configured = runner.cfg.get('env_cfg', {}).get('dist_cfg') or {}
        self._collective = self._limits = Timeouts.of(configured)
        if self.seconds is not None:
            self._limits = Timeouts(self.seconds, self.seconds)
        self._limit = self._limits.start
        self._closed.clear()
        threading.Thread(target=self._watch, args=(runner,), name='watchdog', daemon=True).start()

    def before_train_epoch(self, runner: TrainingRunner) -> None:
        self._allow('start')
        self._begin('waiting for data')

    def before_train_iter(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._begin('in a training step')

    def after_step(self, runner: TrainingRunner) -> None:
        self._allow('step')
        self._begin('waiting for data')

    def after_train_epoch(self, runner: TrainingRunner) -> None:
        self._allow('start')
        self._doing = ''

    def before_val_epoch(self, runner: TrainingRunner) -> None:
        self._allow('start')
        self._begin('validating')

    def after_val_iter(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._begin('validating')

    def after_val_epoch(self, runner: TrainingRunner, *args: object, **kwargs: object) -> None:
        self._doing = ''

    def after_all(self, runner: TrainingRunner) -> None:
        """Stop the thread, however the run ended."""
        self._doing = ''
        self._closed.set()
        self._allow('start')

    def _allow(self, phase: Literal['start', 'step']) -> None:
        """Take the limits of a phase, for this process and for collective operations."""
        limit = getattr(self._limits, phase)
        if limit != self._limit:
            self._limit = limit
            set_timeout(getattr(self._collective, phase))

    def _begin(self, what: str) -> None:
        self._progress += 1  # first: the thread reads it last
        self._doing = what

    def _watch(self, runner: TrainingRunner) -> None:
        stderr = _stderr()
        idle = IdleTime(min(self._limits.step / 8, 5.0))
        while not self._closed.wait(idle.interval):
            doing, limit = self._doing, self._limit
            if idle.look(self._progress) > limit and doing:
                self._give_up(runner, limit, stderr)
                return
            if stderr is not None:
                faulthandler.dump_traceback_later(limit + _STUCK, exit=True, file=stderr)
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


class IdleTime:
    """Seconds without progress, without those in which the process stood still.

    Args:
        interval: seconds from one look to the next. A late look counts as two intervals: the
            process was stopped, or the machine slept or had no core for it.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._seconds, self._progress = 0.0, -1
        self._last = time.monotonic()

    def look(self, progress: int) -> float:
        """The seconds since `progress` was another number."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        same = progress == self._progress
        self._seconds = self._seconds + min(passed, 2 * self.interval) if same else 0.0
        self._progress = progress
        return self._seconds


@contextmanager
def limited_start(config: Mapping[str, Any], run_state: RunState | None) -> Iterator[None]:
    """End the process if its body, in which processes find each other, takes too long.

    Gloo waits without a limit for a process that has died while it connected.

    Args:
        config: of the run, with `launcher` and `env_cfg`.
        run_state: where the failure is written.
    """
    limit = Timeouts.of((config.get('env_cfg') or {}).get('dist_cfg') or {}).start
    if config.get('launcher', 'none') == 'none':
        yield
        return
    timer = threading.Timer(limit + _LEEWAY, _give_up_start, (limit, run_state))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up_start(limit: float, run_state: RunState | None) -> None:
    rank = os.environ.get('RANK', '0')
    reason = (
        f'the {os.environ.get("WORLD_SIZE")} processes have not found each other within '
        f'{limit:g} s, at {os.environ.get("MASTER_ADDR")}: one has failed, or cannot be reached '
        f'through the interface {os.environ.get("GLOO_SOCKET_IFNAME", "of its host name")}'
    )
    with suppress(Exception):
        if run_state is not None:
            run_state.write(state='failed', reason=reason, exit_code=1)
        print(f'[rank {rank}] error: {reason}', file=sys.stderr, flush=True)
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
