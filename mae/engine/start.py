"""How a run starts: with fresh weights, with those of a file, or where a checkpoint left it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.runner import BaseLoop

from mae.fault_tolerance.checkpoint import (
    Choice,
    check_checkpoint,
    check_resumable,
    choose_checkpoint,
    fit_weights,
    list_checkpoints,
    load_checkpoint,
    read_model,
    restore_state,
)
from mae.fault_tolerance.checkpoint.state import NAMES
from mae.utils.distributed import on_main, together
from mae.utils.errors import CheckpointError
from mae.zoo.formats.translate import load_weights

if TYPE_CHECKING:  # the runner imports this file
    from mae.engine.runner import Runner


def announce(runner: 'Runner') -> None:
    """Say in a line that the work dir holds an earlier run, and what becomes of it."""
    work_dir = Path(runner.work_dir)
    if not is_main_process() or runner._train_loop is None or runner._has_loaded:
        return
    step = _earlier_step(work_dir, runner)
    if not step:
        return
    if not runner._resume:
        then = (
            'this one starts anew, and sets its checkpoints aside at its first save; --resume '
            'continues it'
        )
    elif runner._load_from is not None:
        then = f'this one continues {runner._load_from}'
    else:
        then = 'this one continues its latest good checkpoint'
    runner.logger.info(f'{work_dir} holds an earlier run, which came to step {step}: {then}')


def _earlier_step(work_dir: Path, runner: 'Runner') -> int:
    """How far the run came that the work dir holds, by `run.json` and its checkpoints."""
    found = list_checkpoints(work_dir, 1)
    steps = [checkpoint.step for checkpoint in found if checkpoint.record is not None]
    before = runner.run_state.before if runner.run_state is not None else 0
    return max([*steps, before])


def resume(runner: 'Runner', path: Path, *, optimizer: bool = True, schedules: bool = True) -> None:
    """Continue a run of this config after the step its checkpoint was written at.

    Args:
        optimizer: False starts the optimizer anew.
        schedules: False starts the schedules anew.

    Raises:
        CheckpointError: it is damaged, of another model, or not a training checkpoint.
    """
    warn = runner.logger.warning
    choice = on_main(lambda: check_checkpoint(path, warn))
    _continue(runner, choice, optimizer=optimizer, schedules=schedules)


def resume_latest(runner: 'Runner') -> None:
    """The same from the latest good checkpoint of the work dir; if there is none, start anew."""
    work_dir, steps = Path(runner.work_dir), len(runner.train_dataloader)
    warn = runner.logger.warning
    choice = on_main(lambda: choose_checkpoint(work_dir, steps, warn))
    if choice is not None:
        _continue(runner, choice)
    else:
        runner.logger.info(f'nothing to resume in {work_dir}: starting anew')


def _continue(runner: 'Runner', choice: Choice, **parts: bool) -> None:
    runner._resume = True  # for the hooks that restore their part
    runner.resumed_from = str(choice.path)
    _build_what_is_restored(runner)
    for message in together(lambda: _restore(runner, choice, **parts)):
        runner.logger.warning(message)
    runner.logger.info(f'resumed {choice.path} after step {runner.iter}')


def _build_what_is_restored(runner: 'Runner') -> None:
    """Optimizer, schedules and weights, if `resume()` comes before `train()` has built them."""
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._init_model_weights()  # or a later train() would start them anew


def _restore(
    runner: 'Runner', choice: Choice, *, optimizer: bool = True, schedules: bool = True
) -> list[str]:
    """Take the state of a checkpoint; returns warnings."""
    checkpoint = load_checkpoint(choice.path, verified=choice.verified)
    # mmengine's loops promise no exactness: they warn.
    anyway = (runner.cfg.get('resume_anyway') or ()) if runner.is_exact else NAMES
    changed = check_resumable(runner, checkpoint, choice.path, anyway)
    warnings = [
        f'{change}: resumed all the same, with '
        f'{"another" if change.startswith("teacher ") else "other samples"}'
        for change in changed
    ]
    try:
        runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        return warnings + restore_state(
            runner, checkpoint, choice.path, optimizer=optimizer, schedules=schedules
        )
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f'{choice.path} cannot be resumed: it holds the state of another run'
        raise CheckpointError(f'{reason} ({type(error).__name__}: {error})') from error


def load(
    runner: 'Runner',
    path: Path,
    *,
    strict: bool = False,
    revise_keys: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Load weights: all of them to test, the encoder's to judge its features or train it on.

    Args:
        path: file or folder in any known format.
        strict: refuse a file that does not hold just the weights of the whole model.
        revise_keys: (regular expression, replacement) applied to the names in the file.

    Returns:
        The content of the file.

    Raises:
        CheckpointError: it cannot be read, or does not fit the model.
    """
    checkpoint = _read(runner.bare_model, path, revise_keys)
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    loop = runner._test_loop
    needs_all = isinstance(loop, BaseLoop) and not getattr(loop, 'features_only', False)
    if not isinstance(loop, BaseLoop):  # what the file has not, and a later train() must not touch
        runner._init_model_weights()
    report = fit_weights(
        runner.bare_model,
        checkpoint['state_dict'],
        path,
        exact=needs_all or strict,
        facts=checkpoint['facts'],
        notes=checkpoint['notes'],
        classes=_classes_to_learn(runner),
        suggest=runner.suggest_config,
    )
    runner.logger.info(f'{path}: {report}')
    return checkpoint


def _read(model: Any, path: Path, revise_keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Weights in the model's names: of any known format, if it is a model of this toolbox."""
    if hasattr(model, 'encoder') and not revise_keys:
        return load_weights(path)
    checkpoint = read_model(path)
    weights = checkpoint['state_dict']
    for pattern, replacement in revise_keys:
        weights = {re.sub(pattern, replacement, key): w for key, w in weights.items()}
    return {**checkpoint, 'state_dict': weights, 'facts': {}, 'notes': []}


def _classes_to_learn(runner: 'Runner') -> list[str] | None:
    """Names of the classes that a classifier is trained on, if its data set knows them."""
    if not isinstance(runner._train_loop, BaseLoop) or not hasattr(runner.bare_model, 'head'):
        return None
    names = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')
    return [str(name) for name in names] if names else None
