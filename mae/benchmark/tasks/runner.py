"""What a runner costs around the step: hooks, logs, schedules; ours, and mmengine's beside it."""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from itertools import count
from typing import Any

import torch
from mmengine.config import Config

from mae.benchmark import OURS
from mae.benchmark.apart import reason
from mae.benchmark.job import Job
from mae.benchmark.machine import describe
from mae.benchmark.measure import Timing, quartiles
from mae.benchmark.report import Figures, Report, report_of, throughput
from mae.benchmark.turns import Seconds, Turns
from mae.engine import Runner

_NUMBER = count()  # mmengine keeps one logger, visualizer and message hub a name


def run(
    job: Job,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 100,
    at: Sequence[int] = (10,),
    command: str = '',
) -> Report:
    """Time runner and bare loop in turns, at each of some places in a run.

    Args:
        job: config (of a small model, so that the difference shows), batch, device.
        peers: 'mmengine' or nothing.
        rounds: figures for each system.
        steps: iterations of a round; with a multiple of the logging interval every round logs
            the same number of lines.
        at: iterations before the first timed one.
        command: that began it, for the report.

    Raises:
        ValueError: the config describes no training.
    """
    job.require_training()
    torch.set_num_threads(1)  # the cost is Python's
    systems: dict[str, Figures] = {}
    skipped: dict[str, str] = {}
    for place in at:
        for name in (OURS, *peers):
            if name in skipped:
                continue
            key = name if place == at[0] else f'{name} at {place}'
            options = {'at': place, 'rounds': rounds, 'steps': steps, 'device': job.device}
            try:
                systems[key] = _measured(name, job, options)
            except Exception as error:
                if name == OURS:
                    raise
                skipped[name] = reason(error)
                print(f'skipped {name}: {skipped[name]}', flush=True)
    return report_of(
        'runner',
        systems,
        machine=describe(job.device),
        config=job.name,
        skipped=skipped,
        command=command,
        batch_size=job.batch_size,
        at=list(at),
        iterations_per_round=steps,
    )


def _measured(name: str, job: Job, options: dict[str, Any]) -> Figures:
    with tempfile.TemporaryDirectory() as work_dir, redirect_stdout(io.StringIO()):
        config = _config(job, work_dir)
        if name == OURS:
            turns = ours(config, options)
        else:
            turns = import_module(f'mae.benchmark.peers.{name}').runner(config, options)
    return _figures(turns, job.batch_size)


def ours(config: Config, options: dict[str, Any]) -> Turns:
    """Run our `Runner` with the hooks of the config."""
    runner = Runner.from_cfg(config)
    loop = runner.train_loop
    batch = next(loop.dataloader.epoch(0))[0]
    turns = Turns(loop.dataloader, **options)
    loop.dataloader, loop.max_iters = turns, len(turns)

    def bare() -> None:
        runner.optim_wrapper.begin_step([1.0])
        runner.model.train_step(batch, runner.optim_wrapper)

    turns.attach(runner.model, batch, bare)
    runner.train()
    return turns


def _config(job: Job, work_dir: str) -> Config:
    config = Config(job.config.to_dict())
    config.merge_from_dict(
        {
            'work_dir': work_dir,
            'experiment_name': f'benchmark{next(_NUMBER)}',
            'default_scope': 'mae',
            'train_cfg.max_epochs': 1,
            'param_scheduler.warmup_epochs': 0,
            'train_dataloader.batch_size': job.batch_size,
            'train_dataloader.num_workers': 0,
            'global_batch_size': job.batch_size,
            'randomness.seed': job.seed,
        }
    )
    return config


def _figures(turns: Turns, batch_size: int) -> Figures:
    """The overhead is the median over the rounds of the difference within a round."""
    runner, bare = turns.seconds('runner', 'real'), turns.seconds('bare', 'real')
    overhead = _milliseconds(runner, bare)
    idle = _milliseconds(turns.seconds('runner', 'idle'), turns.seconds('bare', 'idle'))
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
