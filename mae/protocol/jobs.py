"""Runs of the tools side by side: forked, so that PyTorch is imported once, with one progress bar.

`tools/demo.py` and `tools/protocol.py` share it. It imports little, so that `--help` is quick.
"""

import gc
import os
import runpy
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from multiprocessing.popen_fork import Popen
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mae.visualization.clock import clock
from mae.visualization.runs.logs import Scalars, find_scalars, read_scalars

# What every run imports, the last four late: matplotlib for mmengine's visualizer, and, where it is
# installed, scikit-learn for the digits.
_IMPORTED = (
    'mae.apis',
    'matplotlib.backends.backend_agg',
    'matplotlib.figure',
    'sklearn.datasets',
    'sklearn.model_selection',
)
_PLAIN_INTERVAL = 10.0  # seconds between lines where there is no terminal
_TAIL = 15  # lines shown of the log of a job that failed


def preload() -> None:
    """Import once what every forked job would import by itself."""
    gc.disable()  # there is no garbage in what is imported: looking for it is a sixth of the time
    try:
        for name in _IMPORTED:
            if find_spec(name.partition('.')[0]) is not None:
                import_module(name)
    finally:
        gc.enable()
    gc.freeze()  # a job that looked through the modules would copy their pages


@contextmanager
def imports_blocked(*names: str) -> Iterator[None]:
    """Within the block these libraries cannot be imported, unless they have been already.

    For optional imports of other libraries, which take time and which no job needs.
    """
    hidden = [name for name in names if name not in sys.modules]
    modules = cast(dict[str, Any], sys.modules)
    modules.update(dict.fromkeys(hidden))  # None says that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]


class _Popen(Popen):
    """Notes the CPU time of a child where it is waited for, the one place that tells it."""

    cpu_seconds: float | None = None  # known once the child has ended

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            pid, status, usage = os.wait4(self.pid, flag)
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return self.returncode


class _Process(ForkProcess):
    """A forked process that tells the CPU time of itself and of the children it waited for."""

    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802 - multiprocessing's name
        return _Popen(process_obj)

    @property
    def cpu_seconds(self) -> float:
        seconds: float | None = cast(Any, self)._popen.cpu_seconds
        assert seconds is not None, 'it has ended'
        return seconds


class JobError(Exception):
    """A job failed; the message says how to repeat it and shows the end of its log."""


@dataclass(eq=False)
class Job:
    """One command.

    Attributes:
        name: for the progress bar.
        script: a tool with `main(argv)`, or a launcher (`.sh`), which takes the job's place.
        args: arguments of the command.
        work_dir: where it writes; its output goes to `console.log` there.
        threads: number of cores it takes.
        shares: start it in its turn even if no core is free; it then shares cores with others.
        cost: about how long it takes, in any unit common to all jobs.
        epochs: length of a training run; 0 if it trains nothing.
        seconds: how long it took by the clock, once it is done.
        cpu_seconds: CPU time of its processes, once it is done.
    """

    name: str
    script: Path
    args: Sequence[str]
    work_dir: Path
    threads: int = 1
    cost: float = 1.0
    epochs: int = 0
    shares: bool = False
    seconds: float | None = None
    cpu_seconds: float | None = None
    _started: float = field(default=0.0, repr=False)
    _process: _Process | None = field(default=None, repr=False)

    @property
    def command(self) -> str:
        """Command line that repeats the job."""
        script = os.path.relpath(self.script)
        if self._is_launcher:
            return shlex.join([script, *self.args])
        words = shlex.join(['python', script, *self.args])
        return f'OMP_NUM_THREADS={self.threads} {words}'

    @property
    def log(self) -> Path:
        return self.work_dir / 'console.log'

    def records(self) -> list[Scalars]:
        """Scalars that the run has logged so far."""
        path = find_scalars(self.work_dir, since=self._started)
        return read_scalars(path) if path else []

    def epoch(self) -> int:
        """Epochs trained so far."""
        return int(max((record.get('epoch', 0) for record in self.records()), default=0))

    def fraction(self) -> float:
        """Share that is done, between 0 and 1."""
        if self.seconds is not None:
            return 1.0
        if self._process is None or not self.epochs:
            return 0.0
        return min(self.epoch() / self.epochs, 1.0)

    def start(self) -> None:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self._started = time.time()
        sys.stdout.flush()
        sys.stderr.flush()
        self._process = _Process(target=self._child)
        self._process.start()

    def finish(self) -> None:
        """Wait for the end and note how long it took.

        Raises:
            JobError: its exit status is not 0.
        """
        assert self._process is not None
        self._process.join()
        self.seconds = time.time() - self._started
        self.cpu_seconds = self._process.cpu_seconds
        if self._process.exitcode:
            lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
            raise JobError(
                '\n'.join([f'failed: {self.command}', f'the end of {self.log}:', *lines[-_TAIL:]])
            )

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    @property
    def _is_launcher(self) -> bool:
        return self.script.suffix == '.sh'

    def _child(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with self.log.open('wb') as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.stdout = open(1, 'w', buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, 'w', buffering=1, closefd=False)  # noqa: SIM115
        if self._is_launcher:
            os.environ['PYTHON'] = sys.executable
            os.execvp('bash', ['bash', str(self.script), *self.args])
        import torch

        from mae.apis.cli import run_command

        torch.set_num_threads(self.threads)
        main = runpy.run_path(str(self.script))['main']
        run_command(lambda: main(list(self.args)))


class JobProgress:
    """One progress bar over all jobs; a plain line now and then where there is no terminal.

    Args:
        cost: sum over all jobs, including those that `then` of `run_jobs` will add.
    """

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.console = Console()
        self._done = 0.0
        self._start = self._last = time.monotonic()
        # No refreshing thread: a process with threads must not fork.
        columns = [
            BarColumn(),
            *map(TextColumn, ('{task.percentage:>3.0f}%', '{task.description}')),
        ]
        self._bar = Progress(*columns, console=self.console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task('', total=1.0)

    def __enter__(self) -> 'JobProgress':
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def finished(self, job: Job) -> None:
        self._done += job.cost

    def show(self, running: Sequence[Job]) -> None:
        """Draw the bar, or print a line every ten seconds where there is no terminal."""
        now = time.monotonic()
        done = self._done + sum(job.cost * job.fraction() for job in running)
        share = min(done / self.cost, 1.0)
        left = f'{clock((now - self._start) * (1 - share) / share)} left' if share else ''
        text = ', '.join(_state(job) for job in running)
        if self.console.is_terminal:
            self._bar.update(self._task, completed=share, description=f'{left:>10}  {text}')
            self._bar.refresh()
        elif now - self._last >= _PLAIN_INTERVAL:
            self._last = now
            print(f'{share:4.0%} {left:>10}  {text}', flush=True)


def run_jobs(
    jobs: Sequence[Job], cores: int, progress: JobProgress, then: Callable[[Job], Sequence[Job]]
) -> None:
    """Run jobs, as many at a time as there are cores for, in their order.

    Args:
        jobs: the first ones.
        cores: a job that takes more runs alone.
        progress: the bar that running and finished jobs move.
        then: called with each finished job; returns further jobs to run.

    Raises:
        JobError: one failed; the others are stopped.
    """
    waiting, running = list(jobs), list[Job]()
    try:
        while waiting or running:
            while waiting and _fits(waiting[0], running, cores):
                job = waiting.pop(0)
                job.start()
                running.append(job)
            ended = wait([job._process.sentinel for job in running if job._process], timeout=0.5)
            for job in [j for j in running if j._process and j._process.sentinel in ended]:
                running.remove(job)
                job.finish()
                progress.finished(job)
                waiting.extend(then(job))
            if running:
                progress.show(running)
    finally:
        for job in running:
            job.stop()


def _fits(job: Job, running: Sequence[Job], cores: int) -> bool:
    return (
        not running or job.shares or job.threads + sum(other.threads for other in running) <= cores
    )


def _state(job: Job) -> str:
    return f'{job.name} {job.epoch()}/{job.epochs}' if job.epochs else job.name
