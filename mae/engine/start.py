"""How a run starts: with fresh weights, with those of a file, or where a checkpoint left it."""

from pathlib import Path
from typing import Any

from mmengine.runner import BaseLoop

from mae.engine.checkpoint import (
    Choice,
    check_given,
    check_resumable,
    choose_checkpoint,
    fit_weights,
    load_checkpoint,
    load_weights,
    on_main,
    restore_state,
    together,
)
from mae.utils.errors import CheckpointError


def load(runner: Any, path: Path) -> dict[str, Any]:
    """Load weights: all of them to test, the encoder's to judge its features or train it on.

    Returns:
        The content of the file.

    Raises:
        CheckpointError: it cannot be read, or does not fit the model.
    """
    checkpoint = load_weights(path)
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    loop = runner._test_loop
    needs_all = isinstance(loop, BaseLoop) and not getattr(loop, 'features_only', False)
    report = fit_weights(
        runner.bare_model,
        checkpoint['state_dict'],
        path,
        exact=needs_all,
        facts=checkpoint['facts'],
        notes=checkpoint['notes'],
        classes=_classes_to_learn(runner),
    )
    runner.logger.info(f'{path}: {report}')
    return checkpoint


def resume(runner: Any, path: Path) -> None:
    """Continue a run of this config after the step its checkpoint was written at.

    Raises:
        CheckpointError: it is damaged, of another model, or not a training checkpoint.
    """
    warn = runner.logger.warning
    _continue(runner, on_main(lambda: check_given(path, warn)))


def resume_latest(runner: Any) -> None:
    """The same from the latest good checkpoint of the work dir; if there is none, start anew."""
    work_dir, steps = Path(runner.work_dir), len(runner.train_dataloader)
    warn = runner.logger.warning
    choice = on_main(lambda: choose_checkpoint(work_dir, steps, warn))
    if choice is not None:
        _continue(runner, choice)
    else:
        runner.logger.info(f'nothing to resume in {work_dir}: starting anew')


def _continue(runner: Any, choice: Choice) -> None:
    runner._resume = True  # for the hooks that restore their part
    runner.resumed_from = str(choice.path)
    for message in together(lambda: _restore(runner, choice)):
        runner.logger.warning(message)
    runner.logger.info(f'resumed {choice.path} after step {runner.iter}')


def _restore(runner: Any, choice: Choice) -> list[str]:
    """Take the state of a checkpoint; returns warnings."""
    checkpoint = load_checkpoint(choice.path, verified=choice.verified)
    anyway = runner.cfg.get('resume_anyway') or ()
    changed = check_resumable(runner, checkpoint, choice.path, anyway)
    told = [
        f'{change}: resumed all the same, with '
        f'{"another" if change.startswith("teacher ") else "other samples"}'
        for change in changed
    ]
    try:
        runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        return told + restore_state(runner, checkpoint, choice.path)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f'{choice.path} cannot be resumed: it holds the state of another run'
        raise CheckpointError(f'{reason} ({type(error).__name__}: {error})') from error


def _classes_to_learn(runner: Any) -> list[str] | None:
    """Names of the classes that a classifier is trained on, if its data set knows them."""
    if not isinstance(runner._train_loop, BaseLoop) or not hasattr(runner.bare_model, 'head'):
        return None
    names = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')
    return [str(name) for name in names] if names else None
