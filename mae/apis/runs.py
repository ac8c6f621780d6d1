"""Training and testing by config: what `tools/train.py` and `tools/test.py` call."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch.utils.data import DataLoader

from mae.apis.cli import explain
from mae.apis.per_class import dense_tables, write_per_class
from mae.apis.suggest_config import matching_config
from mae.config.lineage import differences_from_parent
from mae.engine import Runner
from mae.fault_tolerance.checkpoint import newest_checkpoint
from mae.fault_tolerance.lock import folder_lock
from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.signals import EXIT_CODES, Stopped, StopSignals
from mae.fault_tolerance.watchdog import limited_start
from mae.fault_tolerance.work_dir import tidy_start
from mae.utils.digest import weights_sha256
from mae.utils.distributed import is_first_process
from mae.utils.errors import ConfigError
from mae.utils.launched import elastic_run
from mae.utils.sharded import is_sharded
from mae.zoo.fetch import find_file


def train(config: Config) -> Runner:
    """Run the training a config describes, alone in its work dir.

    SIGTERM, SIGUSR1 and SIGINT stop it at the next step, with the state saved; `run.json` in the
    work dir records the outcome. A start of an elastic run resumes by itself.

    Args:
        config: from `mae.apis.load_config`, with `work_dir` set.

    Returns:
        The runner, when the last epoch is done.

    Raises:
        Stopped: a signal asked for it; a `SystemExit` with status 143, or 130 after Ctrl-C.
        ValueError: config, data or checkpoint cannot be used, another run is at work in the work
            dir, or the numbers stay bad; the message says which and why.
    """
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg'):
        if not config.get(key):
            raise ConfigError(
                f'the config describes no training: {key} is missing in {config.filename}'
                '; one that only evaluates is for `mae test`'
            )
    if elastic_run() and not config.get('load_from'):
        config.resume = True
    work_dir = Path(config.work_dir)
    first = is_first_process(config.get('launcher', 'none'))
    with (
        folder_lock(work_dir) if first else nullcontext(),
        tidy_start(work_dir),
        _recorded(_run_state(config) if first else None) as state,
        _recorded(state),  # twice: a killed data worker raises once, anywhere, also in here
        StopSignals(on_quit=lambda signum: _note_stop(state, signum)) as signals,
    ):
        if config.get('load_from') and not config.get('resume'):
            config.load_from = str(find_file(config.load_from).path)
        with limited_start(config, state):
            runner: Runner = Runner.from_cfg(config)
        runner.signals, runner.run_state = signals, state
        runner.suggest_config = matching_config
        runner.config_origin = lambda: differences_from_parent(config)
        runner.train()
        takes_part = state is not None or is_sharded(runner.model)
        digest = weights_sha256(runner.bare_model.state_dict()) if takes_part else None
        if state is not None:
            state.write(
                state='finished',
                step=runner.iter,
                epoch=runner.epoch,
                weights_sha256=digest,
                exit_code=0,
            )
    return runner


def _run_state(config: Config) -> RunState:
    work_dir = Path(config.work_dir)
    run = elastic_run()
    newest = None if run is None else newest_checkpoint(work_dir)
    return RunState(work_dir, resumes=bool(config.get('resume')), run_id=run, newest=newest)


@contextmanager
def _recorded(state: RunState | None) -> Iterator[RunState | None]:
    """Write down how a run ends if it does not finish."""
    try:
        yield state
    except Stopped as stopped:
        _note_stop(state, stopped.signum)
        raise
    except KeyboardInterrupt:  # where no handler is installed
        _note_stop(state, signal.SIGINT)
        raise
    except BaseException as error:
        if state is not None and not state.is_over:
            said = explain(error) if isinstance(error, Exception) else None
            reason = said or f'{type(error).__name__}: {error}'
            code = error.code if isinstance(error, SystemExit) else 1
            code = code if isinstance(code, int) else int(code is not None)  # as Python does
            state.write(state='failed', reason=reason, exit_code=code)
        raise


def _note_stop(state: RunState | None, signum: int) -> None:
    if state is not None and not state.is_over:
        reason = signal.Signals(signum).name
        state.write(state='stopped', reason=reason, exit_code=EXIT_CODES[signum])


@dataclass(frozen=True)
class TestResult:
    """What a test gives.

    Attributes:
        metrics: by name.
        per_class: rows of all classes, under 'iou', 'box_ap' or 'mask_ap'; empty of a classifier.
    """

    __test__ = False  # not a test of pytest's

    metrics: dict[str, float]
    per_class: dict[str, list[dict[str, Any]]]


def test(
    config: Config,
    checkpoint: str | Path,
    *,
    dataloader: DataLoader[Any] | None = None,  # noqa: PT028 (no test of pytest)
) -> dict[str, float]:
    """Evaluate a checkpoint as a config describes.

    Args:
        config: from `mae.apis.load_config`, with `work_dir` set.
        checkpoint: weights to evaluate: a path, a name of `list_models`, or an address.
        dataloader: what `test_dataloader` of the config describes, if it is built already.

    Returns:
        The metrics by name.

    Raises:
        ValueError: config, data or checkpoint cannot be used; the message says which and why.
    """
    return test_with_classes(config, checkpoint, dataloader).metrics


def test_with_classes(
    config: Config,
    checkpoint: str | Path,
    dataloader: DataLoader[Any] | None = None,  # noqa: PT028 (no test of pytest)
) -> TestResult:
    """Like `test`, with the rows of each class of a segmenter or detector."""
    config.load_from = str(find_file(checkpoint).path)
    config.parallel = None  # one pass forward is not worth sharding
    runner: Runner = Runner.from_cfg(config)
    runner.suggest_config = matching_config
    if dataloader is not None:
        runner.use_test_dataloader(dataloader)
    metrics: dict[str, float] = runner.test()
    evaluated = runner.test_evaluator.metrics
    write_per_class(evaluated, runner.test_dataloader.dataset, Path(config.work_dir))
    return TestResult(metrics, dense_tables(evaluated))
