"""How a run starts: with new weights, with those of a file, or from a checkpoint of a run.

A resume spans three files, to be read in this order: this one, from `begin` to `_restore`;
`mae/fault_tolerance/checkpoint/folder.py`, which chooses the checkpoint; and, once `io.py` or
`sharded_load.py` beside it has read it, `state.py`, which puts the run back to its step.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.optim import OptimWrapperDict
from mmengine.runner import BaseLoop
from torch import nn

from mae.engine.sharding import changed_rounding
from mae.fault_tolerance.agreement import check_agreement
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
from mae.fault_tolerance.checkpoint.folder import advice, set_aside_damaged
from mae.fault_tolerance.checkpoint.hook import CheckpointHook
from mae.fault_tolerance.checkpoint.manifest import Damaged, verify_folder
from mae.fault_tolerance.checkpoint.sharded_load import ShardLayout, read_sharded
from mae.fault_tolerance.checkpoint.state import NAMES, fingerprint
from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.work_dir import not_shared
from mae.utils.distributed import on_main, together
from mae.utils.errors import CheckpointError
from mae.utils.launched import elastic_run
from mae.utils.sharded import is_sharded
from mae.utils.text import counted
from mae.zoo.formats.training import start_of
from mae.zoo.formats.translate import load_weights

if TYPE_CHECKING:  # the runner imports this file
    from mae.engine.runner import Runner


def describe(runner: 'Runner') -> None:
    """Log what runs: the model, the data, where it is written, and how long it takes, in steps."""
    loop: Any = runner.train_loop  # ours or one of mmengine's
    model = runner.bare_model
    name = type(model).__name__.removeprefix('FSDP')  # by which torch marks what it shards
    for part, text in (
        ('run', f'{name}, {_origin(runner)}'),
        ('data', _data(runner)),
        ('model', _model(model)),
        ('work dir', f'{runner.work_dir}, with log and checkpoints'),
        ('length', f'{counted(loop.max_iters, "step")}, {counted(loop.max_epochs, "epoch")}'),
    ):
        runner.logger.info(f'{part}: {text}')


def _origin(runner: 'Runner') -> str:
    config = getattr(runner.cfg, 'filename', None)
    device = f'{runner.world_size} x {get_device().upper()}'
    if is_sharded(runner.model):
        device += ', sharded'
    return f'{Path(config).stem if config else "without a config file"}, on {device}'


def _data(runner: 'Runner') -> str:
    loader = runner.train_dataloader
    source = getattr(loader.dataset, 'source', loader.dataset)
    sampler = loader.batch_sampler
    batch = getattr(sampler, 'global_batch_size', None) or getattr(sampler, 'batch_size', None)
    place = getattr(source, 'folder', None)
    where = f' below {place}' if isinstance(place, str) and place else ''
    name = f'{type(source).__name__}{where}'
    return f'{len(loader.dataset):,} samples of {name}, {batch} a step'


def _model(model: nn.Module) -> str:
    count = sum(value.numel() for value in model.parameters())
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    encoder = getattr(model, 'encoder', None)
    name = '' if encoder is None else f'{type(encoder).__name__}, '
    total, of_them = f'{count / 1e6:,.2f} million', f'{trained / 1e6:,.2f}'
    part = '' if total.startswith(of_them) else f', {of_them} of them trained'
    return f'{name}{total} parameters{part}'


def announce(runner: 'Runner') -> None:
    """Log a line if the work dir holds an earlier run, with what happens to it.

    In a run of several processes all of them find out whether they share it.

    Raises:
        CheckpointError: the starts of an elastic run fail again and again.
        ConfigError: some processes read other data than the first.
    """
    work_dir = Path(runner.work_dir)
    if elastic_run() is not None and on_main(lambda: _goes_on(runner.run_state)):
        runner._resume, runner._load_from = True, None
    if runner.distributed:
        if runner.is_exact:
            check_agreement('data', _data_facts(runner))
        _look_whether_shared(runner, work_dir)
    if not is_main_process() or runner._train_loop is None or runner._has_loaded:
        return
    step = _earlier_step(work_dir, runner)
    if not step:
        return
    if not runner._resume:
        then = (
            'this one starts anew (resume would continue it), and sets its checkpoints aside at '
            'its first save'
        )
    elif runner._load_from is not None:
        then = f'this one continues {runner._load_from}'
    else:
        then = 'this one continues its latest good checkpoint, or starts anew if it has none'
    runner.logger.info(f'{work_dir} holds an earlier run, which came to step {step}: {then}')


def _look_whether_shared(runner: 'Runner', work_dir: Path) -> None:
    """Warn of a work dir that is not shared.

    Raises:
        CheckpointError: all processes write into it.
    """
    warning = not_shared(work_dir)
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if any(hook.all_write(runner) for hook in hooks):

        def refuse() -> None:
            if warning:
                raise CheckpointError(f'{warning}, or default_hooks.checkpoint.sharded=False')

        on_main(refuse)
    elif warning:
        runner.logger.warning(warning)


def _data_facts(runner: 'Runner') -> dict[str, object]:
    dataset = runner.train_dataloader.dataset
    return {'number of samples': len(dataset), 'fingerprint of them': fingerprint(dataset)}


def _goes_on(state: RunState | None) -> bool:
    """Whether an earlier start of this elastic run has saved, so that `--load-from` is done."""
    if state is None or state.elastic is None:
        return False
    state.elastic.check_progress()
    return state.elastic.has_saved


def _earlier_step(work_dir: Path, runner: 'Runner') -> int:
    """Last known step of the run in the work dir, by `run.json` and its checkpoints."""
    found = list_checkpoints(work_dir, 1)
    steps = [checkpoint.step for checkpoint in found if checkpoint.record is not None]
    before = runner.run_state.before if runner.run_state is not None else 0
    return max([*steps, before])


def begin(runner: 'Runner') -> None:
    """Do what `resume` and `load_from` of the config say.

    `resume=True` continues the latest good checkpoint of the work dir, or starts if there is none.
    """
    if runner._resume and runner._load_from is not None:
        runner.resume(runner._load_from)
    elif runner._resume:
        resume_latest(runner)
    elif runner._load_from is not None:
        runner.load_checkpoint(runner._load_from)
    elif getattr(runner.bare_model, 'trainable_blocks', None) is not None:
        runner.logger.warning(
            'the frozen part of the encoder has random weights: give those of a pre-training '
            'as load_from'
        )
    if runner.cfg.get('resume_anyway') and not runner._resume:
        runner.logger.warning('resume_anyway has no effect without resume')


def resume(runner: 'Runner', path: Path, *, optimizer: bool = True, schedules: bool = True) -> None:
    """Continue a run of this config after the step of its checkpoint.

    Args:
        optimizer: False starts with a new optimizer state.
        schedules: False starts the schedules from their beginning.

    Raises:
        CheckpointError: it is damaged, of another model, or not a training checkpoint.
    """
    warn, processes = runner.logger.warning, get_world_size()
    choice = on_main(lambda: check_checkpoint(path, warn, processes=processes))
    if damage := _damage(choice):
        raise CheckpointError(f'{damage}{on_main(lambda: advice(path))}')
    _continue(runner, choice, optimizer=optimizer, schedules=schedules)


def resume_latest(runner: 'Runner') -> None:
    """Continue from the latest good checkpoint of the work dir, or start if there is none."""
    choice = _latest(runner)
    if choice is not None:
        _continue(runner, choice)
    else:
        runner.logger.info(f'nothing to resume in {runner.work_dir}: starting anew')


def _latest(runner: 'Runner') -> Choice | None:
    work_dir, steps = Path(runner.work_dir), len(runner.train_dataloader)
    warn, processes = runner.logger.warning, get_world_size()
    while True:
        choice = on_main(lambda: choose_checkpoint(work_dir, steps, warn, processes=processes))
        damage = _damage(choice)
        if not choice or not damage:
            return choice
        warn(f'{damage}; {on_main(partial(set_aside_damaged, choice.path))}')


def _damage(choice: Choice | None) -> str:
    """What is wrong with a folder, of which each process hashes a part; '' if nothing."""
    if choice is None or not choice.is_to_hash:
        return ''
    path = choice.path

    def own() -> str:
        try:
            verify_folder(path, get_rank(), get_world_size())
        except Damaged as error:
            return str(error)
        return ''

    return next(filter(None, all_gather_object(together(own))), '')


def _continue(runner: 'Runner', choice: Choice, **parts: bool) -> None:
    runner._resume = True  # hooks look at it when they restore their part
    runner.resumed_from = str(choice.path)
    _build_what_is_restored(runner)
    for message in together(lambda: _restore(runner, choice, **parts)):
        runner.logger.warning(message)
    runner.logger.info(f'resumed {choice.path} after step {runner.iter}')


def _build_what_is_restored(runner: 'Runner') -> None:
    """Build optimizer, schedules and weights, if `train()` has not done so yet."""
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._init_model_weights()  # or a later train() would overwrite the loaded ones


def _restore(
    runner: 'Runner', choice: Choice, *, optimizer: bool = True, schedules: bool = True
) -> list[str]:
    """Read a checkpoint and put the run back to its step; returns warnings."""
    checkpoint = _load_state(runner, choice)
    # Loops of mmengine resume inexactly in any case, so they only warn.
    anyway = (runner.cfg.get('resume_anyway') or ()) if runner.is_exact else NAMES
    changed = check_resumable(runner, checkpoint, choice.path, anyway)
    warnings = [
        f'{change}: resumed all the same, with '
        f'{"another" if change.startswith("teacher ") else "other samples"}'
        for change in changed
    ]
    runner.started_from = checkpoint['meta'].get('started_from', {})
    config = checkpoint['meta'].get('cfg')
    if isinstance(config, dict):  # mmengine stores a text
        warnings += changed_rounding(config, runner.cfg)
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


def _load_state(runner: 'Runner', choice: Choice) -> dict[str, Any]:
    """The content of a checkpoint; that of a folder is laid out as the run is."""
    if not choice.path.is_dir():
        return load_checkpoint(choice.path, verified=choice.verified)
    wrapper: Any = runner.optim_wrapper
    groups = () if isinstance(wrapper, OptimWrapperDict) else wrapper.param_groups
    layout = ShardLayout(runner.bare_model, (p for group in groups for p in group['params']))
    return read_sharded(choice.path, layout)


def load(
    runner: 'Runner',
    path: Path,
    *,
    strict: bool = False,
    revise_keys: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Load weights: all of them to test, only the encoder's to evaluate or train on features.

    Args:
        path: file or folder in any known format.
        strict: refuse a file with missing or additional weights.
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
    if not isinstance(loop, BaseLoop):  # for those not in the file; train() then keeps all
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
    if isinstance(runner._train_loop, BaseLoop):
        runner.started_from = start_of(checkpoint, path)
    return checkpoint


def _read(model: Any, path: Path, revise_keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Weights by the names of the model: from any known format, for a model of this toolbox."""
    if hasattr(model, 'encoder') and not revise_keys:
        return load_weights(path)
    checkpoint = read_model(path)
    weights = checkpoint['state_dict']
    for pattern, replacement in revise_keys:
        weights = {re.sub(pattern, replacement, key): w for key, w in weights.items()}
    return {**checkpoint, 'state_dict': weights, 'facts': {}, 'notes': []}


def _classes_to_learn(runner: 'Runner') -> list[str] | None:
    """Class names of a classifier's training dataset, if it has any."""
    if not isinstance(runner._train_loop, BaseLoop) or not hasattr(runner.bare_model, 'head'):
        return None
    names = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')
    return [str(name) for name in names] if names else None
