"""`run.json`: state, step and outcome of a run, for people and programs."""

import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from mae.fault_tolerance.elastic import ElasticStart
from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS
from mae.utils.files import write_json
from mae.utils.versions import versions

NAME = 'run.json'
# Seconds between two heartbeats: a run is dead after five of them without one.
HEARTBEAT = 10.0


class RunState:
    """Keeps `run.json` up to date: written whole, at each change of state and every few seconds.

    `state` is `starting`, `running`, `stopped` (by a signal), `finished` or `failed`. A run that
    was killed leaves `running` and a `heartbeat` that grows old, since a thread renews it until
    the run is over.

    Args:
        resumes: whether the run continues an earlier one, if there is one in the work dir.
        run_id: name of the elastic run that this process belongs to; None: to none.
        newest: name and hash of the newest checkpoint of the work dir, for an elastic run.
        seconds: time between two heartbeats.

    Attributes:
        before: step in the `run.json` that it replaces; 0 if there is none.
        elastic: this start beside earlier ones; None if the run is not elastic.
        is_over: whether the state is final.

    Raises:
        OSError: the disk refused the first write; later errors only warn.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        resumes: bool = False,
        run_id: str | None = None,
        newest: str | None = None,
        seconds: float = HEARTBEAT,
    ) -> None:
        self.path = work_dir / NAME
        earlier = _read(self.path)
        self.before = _number(earlier, 'step')
        self.elastic = None if run_id is None else ElasticStart.after(earlier, run_id, newest)
        resumes = resumes or (self.elastic is not None and self.elastic.has_saved)
        self.is_over = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        now = _now()
        self._values: dict[str, object] = {
            'state': 'starting',
            'reason': None,
            'step': 0,
            'epoch': 0,
            'max_steps': None,
            'exit_code': None,
            'weights_sha256': None,
            'resumed_from': None,
            'restarts': _number(earlier, 'restarts') + 1 if resumes and earlier else 0,
            'elastic': self.elastic and asdict(self.elastic),
            'world_size': None,
            'bad_steps': 0,
            'rollbacks': 0,
            'pid': os.getpid(),
            'host': socket.gethostname(),
            'started': now,
            'updated': now,
            'heartbeat': now,
            'versions': versions(),
        }
        work_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self._values)
        threading.Thread(target=self._beat, args=(seconds,), name='heartbeat', daemon=True).start()

    def write(self, **changes: object) -> None:
        """Change some values; with a new `state` the file is flushed to the disk."""
        now = _now()
        with self._lock:
            self._values |= {**changes, 'updated': now, 'heartbeat': now}
            try:
                write_json(self.path, self._values, flush='state' in changes)
            except OSError as error:
                warnings.warn(f'{self.path} is out of date: {error.strerror}', stacklevel=2)
            self.is_over = self._values['state'] in ('stopped', 'finished', 'failed')
            if self.is_over:
                self._closed.set()

    def _beat(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            with self._lock, suppress(OSError):  # `write` warns
                if not self._closed.is_set():  # or the folder may be gone
                    self._values['heartbeat'] = _now()
                    write_json(self.path, self._values, flush=False)


def _read(path: Path) -> dict[str, Any]:
    """An earlier `run.json`; {} if there is none, or it is not ours."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    return value if isinstance(value, int) else 0


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
            world_size=runner.world_size,
            resumed_from=runner.resumed_from,
            **({} if runner.resumed_from else {'restarts': 0}),
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
