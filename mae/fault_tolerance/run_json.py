"""`run.json`: state, step and outcome of a run, for people and programs."""

import json
import os
import socket
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path

from mmengine.hooks import Hook

from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS
from mae.utils.files import write_json
from mae.utils.versions import versions

NAME = 'run.json'


class RunState:
    """Keeps `run.json` up to date: written whole, at each change of state and every few seconds.

    `state` is `starting`, `running`, `stopped` (by a signal), `finished` or `failed`. A run that
    was killed leaves `running` and a `pid` that no longer exists on `host`.

    Attributes:
        before: step in the `run.json` that it replaces; 0 if there is none.
        is_over: whether the state is final.

    Raises:
        OSError: the disk refused the first write; later errors only warn.
    """

    def __init__(self, work_dir: Path) -> None:
        self.path = work_dir / NAME
        self.before = _step_in(self.path)
        self.is_over = False
        self._values: dict[str, object] = {
            'state': 'starting',
            'reason': None,
            'step': 0,
            'epoch': 0,
            'max_steps': None,
            'exit_code': None,
            'weights_sha256': None,
            'resumed_from': None,
            'bad_steps': 0,
            'rollbacks': 0,
            'pid': os.getpid(),
            'host': socket.gethostname(),
            'started': _now(),
            'updated': _now(),
            'versions': versions(),
        }
        work_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self._values)

    def write(self, **changes: object) -> None:
        """Change some values; with a new `state` the file is flushed to the disk."""
        flush = 'state' in changes
        self._values |= {**changes, 'updated': _now()}
        try:
            write_json(self.path, self._values, flush=flush)
        except OSError as error:
            warnings.warn(f'{self.path} is out of date: {error.strerror}', stacklevel=2)
        self.is_over = self._values['state'] in ('stopped', 'finished', 'failed')


def _step_in(path: Path) -> int:
    try:
        step = json.loads(path.read_bytes())['step']
    except (OSError, LookupError, TypeError, ValueError):  # none, or not ours
        return 0
    return step if isinstance(step, int) else 0


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


@HOOKS.register_module()
class RunStateHook(Hook):
    """Writes the step to `run.json`.

    Args:
        seconds: least time between two writes during an epoch.
    """

    priority = 'VERY_LOW'

    def __init__(self, *, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._next = 0.0

    def before_train(self, runner: TrainingRunner) -> None:
        self._note(
            runner,
            state='running',
            max_steps=runner.max_iters,
            resumed_from=runner.resumed_from,
        )

    def after_step(self, runner: TrainingRunner) -> None:
        if time.monotonic() >= self._next:
            self._note(runner)

    def after_train_epoch(self, runner: TrainingRunner) -> None:
        self._note(runner)

    def after_all(self, runner: TrainingRunner) -> None:
        """Write the last step, however the run ended."""
        if runner.run_state is not None and not runner.run_state.is_over:
            self._note(runner)

    def _note(self, runner: TrainingRunner, **changes: object) -> None:
        self._next = time.monotonic() + self.seconds
        if runner.run_state is not None:
            runner.run_state.write(step=runner.iter, epoch=runner.epoch, **changes)
