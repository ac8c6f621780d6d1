"""What a runner costs around the step: hooks, logs, schedules; ours, and mmengine's beside it."""

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from itertools import count
from typing import Any

import torch
from mmengine.config import Config

from mae.benchmark import OURS
from mae.benchmark.measure import Timing, quartiles, synchronize
from mae.benchmark.report import Figures, Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.worker import reason
from mae.engine import Runner
from mae.engine.device_prefetcher import Batch, DevicePrefetcher

_NUMBER = count()  # mmengine keeps one logger, visualizer and message hub a name
_WARMUP = 5
Seconds = tuple[float, ...]


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 100,
    at: Sequence[int] = (10,),
    command: str = '',
) -> Report:
    """Time runner and bare loop interleaved, at each of some places in a run.

    Args:
        settings: config (of a small model, so that the difference shows), batch, device.
        peers: 'mmengine' or nothing.
        rounds: figures for each system.
        steps: iterations of a round; with a multiple of the logging interval every round logs
            the same number of lines.
        at: iterations before the first timed one.
        command: the command line, for the report.

    Raises:
        ValueError: the config describes no training.
    """
    settings.require_training()
    torch.set_num_threads(1)  # the cost is Python's
    systems: dict[str, Figures] = {}
    skipped: dict[str, str] = {}
    for place in at:
        for name in (OURS, *peers):
            if name in skipped:
                continue
            key = name if place == at[0] else f'{name} at {place}'
            options = {'at': place, 'rounds': rounds, 'steps': steps, 'device': settings.device}
            try:
                systems[key] = _measured(name, settings, options)
            except Exception as error:
                if name == OURS:
                    raise
                skipped[name] = reason(error)
                print(f'skipped {name}: {skipped[name]}', flush=True)
    return build_report(
        'runner',
        systems,
        **settings.facts,
        skipped=skipped,
        command=command,
        at=list(at),
        iterations_per_round=steps,
    )


def _measured(name: str, settings: Settings, options: dict[str, Any]) -> Figures:
    with tempfile.TemporaryDirectory() as work_dir, redirect_stdout(io.StringIO()):
        config = _config(settings, work_dir)
        if name == OURS:
            interleaved = our_runner(config, options)
        else:
            interleaved = import_module(f'mae.benchmark.peers.{name}').runner(config, options)
    return _figures(interleaved, settings.batch_size)


def our_runner(config: Config, options: dict[str, Any]) -> 'InterleavedLoader':
    """Run our `Runner` with the hooks of the config."""
    runner = Runner.from_cfg(config)
    loop: Any = runner.train_loop  # gets a loader that is no `StepLoader`
    model: Any = runner.model
    batch = loop.dataloader.prefetcher.to_device(next(loop.dataloader.epoch(0))[0])
    interleaved = InterleavedLoader(loop.dataloader, **options)
    loop.dataloader, loop.max_iters = interleaved, len(interleaved)

    def bare() -> None:
        runner.optim_wrapper.begin_step([1.0])
        model.train_step(batch, runner.optim_wrapper)

    interleaved.attach(runner.model, batch, bare)
    runner.train()
    return interleaved


def _config(settings: Settings, work_dir: str) -> Config:
    config = Config(settings.config.to_dict())
    config.merge_from_dict(
        {
            'work_dir': work_dir,
            'experiment_name': f'benchmark{next(_NUMBER)}',
            'default_scope': 'mae',
            'train_cfg.max_epochs': 1,
            'param_scheduler.warmup_epochs': 0,
            'train_dataloader.batch_size': settings.batch_size,
            'train_dataloader.num_workers': 0,
            'global_batch_size': settings.batch_size,
            'randomness.seed': settings.seed,
        }
    )
    return config


def _figures(interleaved: 'InterleavedLoader', batch_size: int) -> Figures:
    """The overhead is the median over the rounds of the difference within a round."""
    runner, bare = interleaved.seconds('runner', 'real'), interleaved.seconds('bare', 'real')
    overhead = _milliseconds(runner, bare)
    idle = _milliseconds(interleaved.seconds('runner', 'idle'), interleaved.seconds('bare', 'idle'))
    return {
        **throughput(Timing(runner), batch_size),
        'milliseconds_per_iteration': 1e3 * Timing(runner).median,
        'overhead_milliseconds': Timing(overhead).median,
        'overhead_quartiles': quartiles(overhead),
        'idle_overhead_milliseconds': Timing(idle).median,
        'idle_overhead_quartiles': quartiles(idle),
        'bare_rounds': list(bare),
    }


def _milliseconds(runner: Seconds, bare: Seconds) -> Seconds:
    return tuple(1e3 * (whole - step) for whole, step in zip(runner, bare, strict=True))


class InterleavedLoader:
    """A data loader inside the runner's loop that times the runner and a bare loop, interleaved.

    It yields one batch again and again. First the model takes real steps, then idle ones, which
    return at once what a real one returned: the runner's cost alone, without the noise of the step.
    Iterations before `at` are idle too: hooks, logs and histories see as many as they would.

    Args:
        loader: the one it replaces, whose `dataset`, `batch_sampler` and `sampler` it shows.
        at: iterations before the first timed one.
        rounds: number of figures.
        steps: iterations of a round.
        device: where the steps run.
    """

    def __init__(
        self, loader: Any, *, at: int, rounds: int, steps: int, device: torch.device
    ) -> None:
        self.dataset = loader.dataset
        self.batch_sampler = loader.batch_sampler
        self.sampler: Any = loader.sampler
        self._at = max(at, _WARMUP)
        self._rounds = rounds
        self._steps = steps
        self._device = device
        self.prefetcher = DevicePrefetcher(device)
        self._outputs: dict[str, Any] = {}
        self._times: dict[str, list[float]] = {}

    def attach(self, model: Any, batch: Batch, bare: Callable[[], object]) -> None:
        """Set the model, its batch, and one iteration of the bare loop."""
        self._model = model
        self._batch = batch
        self._bare = bare

    def seconds(self, loop: str, step: str) -> Seconds:
        """Seconds per iteration, round by round.

        Args:
            loop: 'runner' or 'bare'.
            step: 'real' or 'idle'.
        """
        return tuple(self._times[f'{loop} {step}'])

    def __len__(self) -> int:
        return self._at + 2 * self._rounds * self._steps + 1

    def __iter__(self) -> Iterator[Batch]:
        """As mmengine's loops read a loader."""
        for _ in range(_WARMUP):
            yield self._batch
        self._remember_outputs()
        with self._idle_step():
            yield from self._pass(self._at - _WARMUP)
        yield from self._time_rounds('real')
        with self._idle_step():
            yield from self._time_rounds('idle')
        yield self._batch  # a loop that counts asks for it, and so ends the last round

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[Batch]]:
        """As our `TrainLoop` reads a loader."""
        for batch in self:
            yield [batch]

    def step_size(self, step: int) -> int:
        """Samples of a step."""
        return len(self._batch['ids'])

    def _pass(self, number: int) -> Iterator[Batch]:
        """Let `number` iterations go by."""
        for _ in range(number):
            yield self._batch

    def _time_rounds(self, step: str) -> Iterator[Batch]:
        for number in range(self._rounds):
            if number % 2:
                self._time_bare(step)
            start = self._now()
            yield from self._pass(self._steps)
            self._note(f'runner {step}', start)
            if not number % 2:
                self._time_bare(step)

    def _time_bare(self, step: str) -> None:
        start = self._now()
        for _ in range(self._steps):
            self._bare()
        self._note(f'bare {step}', start)

    def _note(self, name: str, start: float) -> None:
        self._times.setdefault(name, []).append((self._now() - start) / self._steps)

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()

    def _remember_outputs(self) -> None:
        step = self._model.train_step

        def observed(*args: Any, **kwargs: Any) -> Any:
            outputs = step(*args, **kwargs)
            self._outputs = dict(outputs)
            return outputs

        self._model.train_step = observed
        self._bare()
        del self._model.train_step

    @contextmanager
    def _idle_step(self) -> Iterator[None]:
        self._model.train_step = lambda *args, **kwargs: dict(self._outputs)
        yield
        del self._model.train_step
