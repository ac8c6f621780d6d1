"""Stopping when asked: all processes at the same step boundary, with the state saved."""

import os
import signal
import subprocess
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook

from mae.fault_tolerance.checkpoint.hook import CheckpointHook
from mae.fault_tolerance.signals import EXIT_CODES, Stopped
from mae.registry import HOOKS

_SIGNALS = list(EXIT_CODES)  # by weight
# Validation batches between two questions to the other processes.
_VAL_INTERVAL = 10


@HOOKS.register_module()
class StopHook(Hook):
    """Saves and ends the run after SIGTERM, SIGUSR1 or SIGINT in any process.

    During training the wish travels with the exchange of the losses, so that it costs no step
    anything. Elsewhere the processes ask each other: before the first step, at the end of an
    epoch, and every ten batches of a validation, which is cut short and done again on resuming.

    Args:
        requeue: hand the job back to SLURM (`scontrol requeue`) after SIGUSR1, which `sbatch
            --signal=USR1@120` sends ahead of the time limit, if the run was started with
            `--resume` without a path.
    """

    priority = 'LOWEST'
    needs_train_loop = True

    def __init__(self, *, requeue: bool = True) -> None:
        self.requeue = requeue

    def before_train(self, runner: Any) -> None:
        """From here on a signal waits for a step boundary."""
        self._start = runner.iter
        self._common_batches = 0
        if runner.signals is not None:
            runner.signals.defer()
        self._ask(runner)

    def after_report(self, runner: Any, report: Any) -> None:
        if report.stop and runner.distributed:
            self._ask(runner)

    def after_step(self, runner: Any) -> None:
        if not runner.distributed and runner.stop_signum:
            self._stop(runner, runner.stop_signum)

    def after_train_epoch(self, runner: Any) -> None:
        self._ask(runner)

    def before_val(self, runner: Any) -> None:
        """How many batches every process has: where they may ask each other."""
        if runner.distributed and not self._common_batches:
            self._common_batches = _agree(len(runner.val_dataloader), 'min')

    def after_val_iter(self, runner: Any, batch_idx: int, **others: Any) -> None:
        if not runner.distributed:
            if runner.stop_signum:
                self._stop(runner, runner.stop_signum)
        elif batch_idx % _VAL_INTERVAL == 0 and batch_idx < self._common_batches:
            self._ask(runner)

    def _ask(self, runner: Any) -> None:
        """Stop if any process has been asked to."""
        signum = runner.stop_signum
        if runner.distributed:
            weight = _SIGNALS.index(signum) + 1 if signum else 0
            weight = _agree(weight, 'max')
            signum = _SIGNALS[weight - 1] if weight else 0
        if signum:
            self._stop(runner, signum)

    def _stop(self, runner: Any, signum: int) -> None:
        name, step = signal.Signals(signum).name, runner.iter
        runner.call_hook('on_interrupt')
        if step > self._start:
            _save(runner, step)
        runner.logger.info(f'{name}: stopped after step {step}; go on with --resume')
        if runner.run_state is not None:
            code = EXIT_CODES[signum]
            runner.run_state.write(
                state='stopped', reason=name, step=step, epoch=runner.epoch, exit_code=code
            )
        if signum == signal.SIGUSR1 and self.requeue and is_main_process():
            _requeue(runner)
        barrier()  # a launcher that sees one process end, ends the others
        raise Stopped(signum)


def _agree(value: int, how: str) -> int:
    """The largest or smallest value among the processes."""
    common = torch.tensor(value)
    all_reduce(common, op=how)
    return int(common)


def _save(runner: Any, step: int) -> None:
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if not hooks:
        runner.logger.warning('no CheckpointHook: what was trained since the last one is lost')
    for hook in hooks:
        hook.save_now(runner, step)
        hook.wait()


def _requeue(runner: Any) -> None:
    job = os.environ.get('SLURM_JOB_ID')
    if job is None:
        return
    if not runner.cfg.get('resume'):
        runner.logger.warning('not requeued: without --resume the job would start anew')
        return
    if runner.cfg.get('load_from'):
        runner.logger.warning('not requeued: --resume PATH would begin at PATH again; leave it out')
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
