"""Signals that stop a run: at the next step boundary, after the state is saved."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook

from mae.fault_tolerance.checkpoint.hook import CheckpointHook
from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.step_report import StepReport
from mae.registry import HOOKS
from mae.utils.launched import elastic_run

# Exit status by stop signal. Of several signals the last one listed here counts.
EXIT_CODES: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}

# Seconds within which another signal counts as the first one: a launcher forwards what the batch
# system has sent to every process already.
_REPEAT_SECONDS = 1.0
_SIGNALS = list(EXIT_CODES)  # in order of priority
# Validation batches between two all-reduces of the stop flag.
_VAL_INTERVAL = 10


class Stopped(SystemExit):
    """A run ends because of a signal; `code` is the exit status."""

    def __init__(self, signum: int) -> None:
        super().__init__(EXIT_CODES[signum])
        self.signum = signum


class RolledBack(Exception):  # noqa: N818  # no error: the run continues from an earlier step
    """A hook has resumed the run at an earlier step, from where it continues."""


class StopSignals:
    """SIGTERM, SIGUSR1 and SIGINT set a flag; a second one ends the process at once.

    Before `defer()`, and inside `waiting()`, when nothing can be lost, the first one raises
    `Stopped` instead. Both work too while the main thread is inside a library, where Python's
    handlers do not run, through a thread. Signals that are ignored by inheritance stay ignored, and
    outside the main thread no signal is handled.

    Attributes:
        signum: the first signal, or 0.
        on_quit: called with the signal before a second one ends the process.
    """

    def __init__(self, on_quit: Callable[[int], None] | None = None) -> None:
        self.signum = 0
        self.on_quit = on_quit
        self._interrupts = True  # raise at once
        self._starting = True
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> 'StopSignals':
        if threading.current_thread() is not threading.main_thread():
            return self
        for signum in EXIT_CODES:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._handle)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name='signals', daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not hasattr(self, '_writer'):
            return
        self._starting = False
        signal.set_wakeup_fd(self._old_wakeup)
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)
        self._writer.close()  # ends the thread

    def defer(self) -> None:
        """From now on a signal takes effect at the next step boundary, where the state is saved."""
        self._starting = self._interrupts = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal raise `Stopped` anywhere inside, as while waiting for data."""
        self._interrupts = True
        try:
            if self.signum:
                raise Stopped(self.signum)
            yield
        finally:
            self._interrupts = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        if self._interrupts:
            self._interrupts = self._starting = False  # nothing may interrupt the exit
            raise Stopped(self.signum)

    def _watch(self) -> None:
        first = 0.0
        while True:
            with suppress(OSError):
                received = self._reader.recv(64)
            if not received:
                self._reader.close()
                return
            for signum in set(received) & set(self._previous):
                now = time.monotonic()
                if not first:
                    first = now
                    if self._starting:  # perhaps inside a library that waits for other processes
                        threading.Thread(
                            target=self._quit_soon, args=(signum,), daemon=True
                        ).start()
                elif now - first >= _REPEAT_SECONDS:
                    self._quit(signum, 'a second signal')

    def _quit_soon(self, signum: int) -> None:
        def quit_unless_begun() -> None:
            time.sleep(_REPEAT_SECONDS)
            if self._starting:
                self._quit(signum, signal.Signals(signum).name)

        threading.Thread(target=quit_unless_begun, daemon=True).start()

    def _quit(self, signum: int, why: str) -> None:
        if self.on_quit is not None:
            with suppress(Exception):
                self.on_quit(signum)
        with suppress(Exception):
            print(f'{why}: quitting at once', file=sys.stderr, flush=True)
        os._exit(EXIT_CODES[signum])


@HOOKS.register_module()
class StopHook(Hook):
    """Saves and ends the run after SIGTERM, SIGUSR1 or SIGINT in any process.

    During training the stop flag is part of the loss all-reduce, which costs no extra time.
    Elsewhere it has an all-reduce of its own: before the first step, at the end of an epoch, and
    every ten batches of a validation, which stops early and is repeated after the resume.

    Args:
        requeue: return the job to SLURM (`scontrol requeue`) after SIGUSR1, which `sbatch
            --signal=USR1@120` sends before the time limit, if the run is elastic or was started
            with `--resume` without a path.
    """

    priority = 'LOWEST'
    needs_train_loop = True

    def __init__(self, *, requeue: bool = True) -> None:
        self.requeue = requeue

    def before_train(self, runner: TrainingRunner) -> None:
        """From here on a signal takes effect at a step boundary."""
        self._start = runner.iter
        self._common_batches = 0
        if runner.signals is not None:
            runner.signals.defer()
        self._stop_if_requested(runner)

    def after_report(self, runner: TrainingRunner, report: StepReport) -> None:
        if report.stop and runner.distributed:
            self._stop_if_requested(runner)

    def after_step(self, runner: TrainingRunner) -> None:
        if not runner.distributed and runner.stop_signum:
            self._stop(runner, runner.stop_signum)

    def after_train_epoch(self, runner: TrainingRunner) -> None:
        self._stop_if_requested(runner)

    def before_val(self, runner: TrainingRunner) -> None:
        """Find how many batches every process has: only there can an all-reduce work."""
        if runner.distributed and not self._common_batches:
            self._common_batches = _all_reduced(len(runner.val_dataloader), 'min')

    def after_val_iter(self, runner: TrainingRunner, batch_idx: int, **others: object) -> None:
        if not runner.distributed:
            if runner.stop_signum:
                self._stop(runner, runner.stop_signum)
        elif batch_idx % _VAL_INTERVAL == 0 and batch_idx < self._common_batches:
            self._stop_if_requested(runner)

    def _stop_if_requested(self, runner: TrainingRunner) -> None:
        """Stop if any process has received a signal."""
        signum = runner.stop_signum
        if runner.distributed:
            weight = _SIGNALS.index(signum) + 1 if signum else 0
            weight = _all_reduced(weight, 'max')
            signum = _SIGNALS[weight - 1] if weight else 0
        if signum:
            self._stop(runner, signum)

    def _stop(self, runner: TrainingRunner, signum: int) -> None:
        name, step = signal.Signals(signum).name, runner.iter
        runner.call_hook('on_interrupt')
        if step > self._start:
            _save(runner, step)
        runner.logger.info(f'{name}: stopped after step {step}; resume the run to go on')
        if runner.run_state is not None:
            code = EXIT_CODES[signum]
            runner.run_state.write(
                state='stopped', reason=name, step=step, epoch=runner.epoch, exit_code=code
            )
        if signum == signal.SIGUSR1 and self.requeue and is_main_process():
            _requeue(runner)
        barrier()  # a launcher ends the others when one process ends
        raise Stopped(signum)


def _all_reduced(value: int, how: str) -> int:
    """The largest or smallest value among the processes."""
    common = torch.tensor(value)
    all_reduce(common, op=how)
    return int(common)


def _save(runner: TrainingRunner, step: int) -> None:
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if not hooks:
        runner.logger.warning('no CheckpointHook: what was trained since the last one is lost')
    for hook in hooks:
        hook.save_now(runner, step)
        hook.wait()


def _requeue(runner: TrainingRunner) -> None:
    job = os.environ.get('SLURM_JOB_ID')
    if job is None:
        return
    goes_on = elastic_run() is not None  # by itself, whatever it was first started from
    if not goes_on and not runner.cfg.get('resume'):
        runner.logger.warning('not requeued: without resume the job would start anew')
        return
    if not goes_on and runner.cfg.get('load_from'):
        runner.logger.warning(
            'not requeued: resume with a path would begin there again; leave it out'
        )
        return
    try:
        subprocess.run(
            ['scontrol', 'requeue', job], check=True, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = getattr(error, 'stderr', None) or error
        runner.logger.warning(f'scontrol requeue {job} failed: {str(why).strip()}')
    else:
        runner.logger.info(f'requeued job {job}')
