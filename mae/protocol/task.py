"""A job that writes a result, is not repeated once it has one, and resumes if it was killed."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mae.fault_tolerance.checkpoint import newest_verified
from mae.protocol.jobs import Job
from mae.utils import strict_json
from mae.utils.errors import ConfigError
from mae.utils.files import write_json
from mae.visualization.runs.logs import read_scalars

_STARTED, _RESULT, _METRICS = 'task.json', 'result.json', 'metrics.json'
CHECKPOINT = 'CHECKPOINT'


@dataclass(eq=False)
class Task(Job):
    """A run of `tools/train.py` or `tools/test.py` in a folder of its own.

    Attributes:
        test_args: arguments that test the trained model, with `CHECKPOINT` in place of its file;
            empty if the task is a test itself, or there is nothing to test.
        test_script: the tool for `test_args`.
        metric: key of the log that holds the result of a trained model.
        identity: hash of all that the result depends on; a folder with another one is refused.
        devices: number that it occupies, for its cost.
        anew: start again, whatever earlier runs have left in the folder.
    """

    test_args: tuple[str, ...] = ()
    test_script: Path = Path()
    metric: str = 'top1'
    identity: str = ''
    devices: int = 1
    anew: bool = False
    _sessions: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _original: str = field(default='', repr=False)

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of result.json, None before it is done: `metrics`, `command`, and the times.

        `seconds` are those of the clock, `cpu_seconds` the CPU time of all processes (older files
        have none), `device_seconds` those of the clock times the number of devices.
        """
        if self.anew and self.seconds is None:
            return None
        return _read(self.work_dir / _RESULT)

    def check(self) -> None:
        """Refuse a folder that holds another run.

        Raises:
            ConfigError: it does; names the folder.
        """
        begun = self._begun()
        if begun and begun['identity'] != self.identity:
            raise ConfigError(
                f'{self.work_dir} holds a run of other configs, options, data or weights '
                f'({begun["command"]}); remove it, or choose another --work-dir'
            )

    def start(self) -> None:
        """Start, or resume from the last checkpoint."""
        past = self._begun().get('sessions', [])
        if past and past[-1]['seconds'] is None:  # it was killed: until its last sign of life
            past[-1]['seconds'] = max(0.0, _last_change(self.work_dir) - past[-1]['start'])
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self._sessions = [*past, {'start': time.time(), 'seconds': None}]
        self._original = self.command
        self._note()
        if not self.anew:
            self._go_on()
        super().start()

    def finish(self) -> None:
        """Write the result.

        Raises:
            JobError: its exit status is not 0.
            ValueError: the log holds no result.
        """
        super().finish()
        self._sessions[-1] |= {'seconds': self.seconds, 'cpu_seconds': self.cpu_seconds}
        self._note()
        seconds = sum(session['seconds'] for session in self._sessions)
        result = {
            'metrics': self._metrics(),
            'seconds': seconds,
            'cpu_seconds': _cpu_seconds(self._sessions),
            'device_seconds': seconds * self.devices,
            'sessions': len(self._sessions),
            'command': self._original,
            'checkpoint': str(checkpoint) if (checkpoint := self.checkpoint()) else None,
        }
        write_json(self.work_dir / _RESULT, result)

    def checkpoint(self) -> Path | None:
        """The newest one that fits its manifest."""
        found = newest_verified(self.work_dir, with_best=False)
        return found.path if found else None

    def _begun(self) -> dict[str, Any]:
        """Content of an earlier start's task.json; empty without one, or if it does not count."""
        return {} if self.anew else _read(self.work_dir / _STARTED) or {}

    def _go_on(self) -> None:
        """Change the command line to what is left to do."""
        checkpoint = self.checkpoint()
        if not self.epochs or checkpoint is None:
            return
        if checkpoint.stem == f'epoch_{self.epochs}' and self.test_args:
            # Trained to the end, but killed before the result was written.
            self.script = self.test_script
            self.args = [str(checkpoint) if w == CHECKPOINT else w for w in self.test_args]
            return
        args = list(self.args)
        if '--load-from' in args:  # the checkpoint holds all of it
            index = args.index('--load-from')
            del args[index : index + 2]
        index = args.index('--work-dir')
        self.args = [*args[:index], '--resume', *args[index:]]

    def _metrics(self) -> dict[str, float]:
        written = _read(self.work_dir / _METRICS)
        if written is not None:
            return {key: value for key, value in written.items() if isinstance(value, int | float)}
        key = self.metric if self.test_args else 'loss'
        for path in sorted(self.work_dir.glob('*/vis_data/scalars.json'), reverse=True):
            found = [record for record in read_scalars(path) if key in record]
            if found:
                return found[-1]
        raise ValueError(f'{self.work_dir}: no run has logged {key!r}')

    def _note(self) -> None:
        started = {
            'identity': self.identity,
            'command': self._original,
            'sessions': self._sessions,
        }
        write_json(self.work_dir / _STARTED, started)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value: dict[str, Any] = strict_json.loads_numbers(path.read_bytes())
    return value


def _cpu_seconds(sessions: list[dict[str, Any]]) -> float:
    """CPU time of all sessions, with an estimate for those that were killed and left none.

    They are taken to have had the CPU for the same share of their time as the others.
    """
    ended = [session for session in sessions if session.get('cpu_seconds') is not None]
    spent, lasted = (sum(s[key] for s in ended) for key in ('cpu_seconds', 'seconds'))
    return float(spent + spent / lasted * sum(s['seconds'] for s in sessions if s not in ended))


def _last_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob('*'))
