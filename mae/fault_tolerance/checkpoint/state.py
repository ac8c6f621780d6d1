"""The state of a run in a checkpoint: weights, optimizer, schedules and the step.

Random numbers are no part of it: they follow from the config and the step. What determines them,
the identity of the run, is stored with the state, and a run with another identity is refused.

In this order: the state is collected (`training_state`), checked and restored (`check_resumable`,
`restore_state`: the last of three files about a resume, after `mae/engine/start.py` and
`folder.py`), the identity, and the options of the optimizer.
"""

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, _ParamScheduler
from mmengine.runner import IterBasedTrainLoop
from torch import Tensor

from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.load import fit_weights
from mae.fault_tolerance.runner import StepWrapper, TrainingRunner
from mae.utils.command_line import MayDiffer
from mae.utils.errors import CheckpointError, ConfigError
from mae.utils.runner_protocol import Schedules
from mae.utils.sharded import like
from mae.utils.versions import versions

State = dict[str, Any]

NAMES: tuple[str, ...] = get_args(MayDiffer)
_LOOKED_AT = 4096  # samples, evenly spread

# Options that do not change the result of a step, and the factor that schedules read.
_OF_CONFIG = ('fused', 'foreach', 'capturable', 'differentiable', 'lr_scale')


def training_state(runner: TrainingRunner, step: int) -> Checkpoint:
    """The state after `step` optimizer steps, on which the rest of the run depends."""
    return {
        'meta': {
            'step': step,
            'epoch': _epoch(runner, step),
            'world_size': runner.world_size,
            **runner.identity,
            'cfg': plain(runner.cfg.to_dict()),
            'classes': _classes(runner.train_dataloader.dataset),
            'versions': versions(),
            'started_from': runner.started_from,
        },
        'state_dict': runner.bare_model.state_dict(),
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': _schedule_states(runner.param_schedulers or []),
    }


def check_resumable(
    runner: TrainingRunner, checkpoint: Checkpoint, path: Path, anyway: Sequence[str] = ()
) -> list[str]:
    """Refuse a checkpoint without the state of a run, or of a run with another identity.

    Args:
        path: for messages.
        anyway: names in `NAMES` of what may differ.

    Returns:
        A line for each difference that `anyway` allows.

    Raises:
        CheckpointError: it holds only weights, or the run would see other samples.
    """
    meta = checkpoint.get('meta')
    needed = {'optimizer', 'param_schedulers'}
    step = _step(meta, runner) if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or step is None or not needed <= checkpoint.keys():
        raise CheckpointError(
            f'{path} cannot be resumed: it holds weights only; start from it with load_from'
        )
    changed = check_same(meta, runner.identity, path, anyway)
    end = runner.max_iters
    if not isinstance(step, int) or not 0 <= step <= end:
        raise CheckpointError(
            f'{path} cannot be resumed: it is at step {step}, and the run has {end}; raise '
            'train_cfg.max_epochs'
        )
    return changed


def restore_state(
    runner: TrainingRunner,
    checkpoint: Checkpoint,
    path: Path,
    *,
    optimizer: bool = True,
    schedules: bool = True,
) -> list[str]:
    """Put model, optimizer, schedules and loop back to the step of a checkpoint.

    Args:
        checkpoint: from `training_state`; for loops of mmengine also from its runner.
        path: for messages.
        optimizer: False leaves the optimizer as it is.
        schedules: False leaves the schedules as they are.

    Returns:
        A line for each option of the config that has no effect.

    Raises:
        CheckpointError: the checkpoint is of another model or optimizer.
    """
    weights, suggest = checkpoint['state_dict'], runner.suggest_config
    fit_weights(runner.bare_model, weights, path, exact=True, suggest=suggest)
    lines = []
    if optimizer:
        lines = _restore_optimizers(runner, checkpoint['optimizer'], path)
    if schedules:
        _load_schedules(runner.param_schedulers or [], checkpoint['param_schedulers'])
    meta = checkpoint['meta']
    if runner.is_exact:
        runner.train_loop.go_to(meta['step'])
    else:
        loop: Any = runner.train_loop  # of mmengine, whose counters have no setters
        loop._epoch, loop._iter = meta['epoch'], _step(meta, runner)
        _restore_mmengine(runner, meta.get('seed'), checkpoint.get('message_hub'))
    return lines


def mmengine_checkpoint(
    runner: TrainingRunner, meta: Mapping[str, Any], *, by_epoch: bool
) -> Checkpoint:
    """`runner.training_checkpoint`, with what mmengine's runner notes in a checkpoint.

    Args:
        meta: `iter`, the optimizer steps done, and `epoch` take precedence over the runner's.
        by_epoch: whether an epoch has just ended, or else a step.
    """
    noted = {
        'epoch': runner.epoch + 1 if by_epoch else runner.epoch,
        'iter': runner.iter if by_epoch else runner.iter + 1,
        'experiment_name': runner.experiment_name,
        'time': time.strftime('%Y%m%d_%H%M%S'),
        'dataset_meta': getattr(runner.train_dataloader.dataset, 'metainfo', None),
        **meta,
    }
    noted = plain({**noted, 'step': noted['iter']})
    checkpoint = runner.training_checkpoint(noted['step'], noted)
    info = runner.message_hub.state_dict()['runtime_info']
    info = {key: plain(value) for key, value in info.items()}
    checkpoint['message_hub'] = {
        'log_scalars': {},  # they are in `scalars.json`
        'runtime_info': info,
        'resumed_keys': dict.fromkeys(info, True),
    }
    return checkpoint


def plain(value: object) -> Any:
    """A config as data: dicts, lists, numbers and strings, nothing that must be evaluated."""
    if isinstance(value, Mapping | Config):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):  # numpy's float64 is a float, and no plain one
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _step(meta: Mapping[str, object], runner: TrainingRunner) -> object:
    """Optimizer steps done. mmengine stores them as `iter`, from which only its loops resume."""
    return meta.get('step', None if runner.is_exact else meta.get('iter'))


def _epoch(runner: TrainingRunner, step: int) -> int:
    if isinstance(runner.train_loop, IterBasedTrainLoop):  # it has no epochs
        return 0
    steps: int = runner.identity['steps_per_epoch']
    return step // steps


def _classes(dataset: object) -> list[str | int | float]:
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
    return [plain(name) for name in names]


def _schedule_state(scheduler: _ParamScheduler) -> State:
    """Plain values: mmengine counts milestones in a `Counter`, a subclass of dict."""
    state: State = scheduler.state_dict()
    return {key: dict(v) if isinstance(v, dict) else v for key, v in state.items()}


def _schedule_states(schedulers: Schedules) -> list[State] | dict[str, list[State]]:
    if isinstance(schedulers, Mapping):
        return {name: list(map(_schedule_state, of_one)) for name, of_one in schedulers.items()}
    return list(map(_schedule_state, schedulers))


def _load_schedules(schedulers: Schedules, states: Any) -> None:
    if isinstance(schedulers, Mapping):
        for name, of_one in schedulers.items():
            _load_schedules(of_one, states[name])
        return
    for scheduler, state in zip(schedulers, states, strict=True):
        scheduler.load_state_dict(state)


def _restore_optimizers(runner: TrainingRunner, state: Any, path: Path) -> list[str]:
    """Restore the optimizer, or each of several."""
    schedulers = runner.param_schedulers or []
    wrapper: StepWrapper | OptimWrapperDict = runner.optim_wrapper
    wrappers = dict(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else {'': wrapper}
    lines = []
    for name, wrapper in wrappers.items():
        of_one = schedulers[name] if isinstance(schedulers, Mapping) else schedulers
        scheduled = {scheduler.param_name for scheduler in of_one}
        lines.append(restore_optimizer(wrapper, state[name] if name else state, path, scheduled))
    return [line for line in lines if line]


def _restore_mmengine(runner: TrainingRunner, seed: object, hub: object) -> None:
    """Resume as mmengine does: take the checkpoint's seed and the values of its message hub."""
    seed_of_config = runner._randomness_cfg.get('seed')
    if isinstance(seed, int) and seed != seed_of_config:
        if seed_of_config is not None:
            runner.logger.warning(
                f'randomness.seed={seed_of_config} has no effect: {seed} is resumed'
            )
        runner._randomness_cfg['seed'] = seed
        runner.set_randomness(**runner._randomness_cfg)
    if isinstance(hub, dict) and isinstance(hub.get('runtime_info'), dict):
        for key, value in hub['runtime_info'].items():
            runner.message_hub.update_info(str(key), value)


# --- the identity of a run: what determines its samples and its task --------------------------


def identity_of(runner: TrainingRunner) -> dict[str, Any]:
    """Seed, global batch, steps of an epoch, number and fingerprint of the samples, teacher.

    A model with a frozen teacher has `get_fingerprint()`, the hash of the teacher's weights.
    """
    loader = runner.train_dataloader
    sampler = loader.batch_sampler
    return {
        'seed': runner.seed,
        # None with a sampler of mmengine, as what cannot be known is not compared.
        'global_batch_size': getattr(sampler, 'global_batch_size', None),
        'num_samples': getattr(sampler, 'num_samples', len(loader.dataset)),
        'steps_per_epoch': len(loader),  # a last, small batch may need fewer processes
        'dataset': fingerprint(loader.dataset),
        'teacher': getattr(runner.bare_model, 'get_fingerprint', lambda: None)(),
    }


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> dict[str, str]:
    """A line for each difference, by name; what an older checkpoint lacks does not count."""
    found = {
        name: f'{name} was {then[name]} and is {here} now'
        for name, here in now.items()
        if then.get(name) is not None and here is not None and then[name] != here
    }
    if found.keys() & {'global_batch_size', 'num_samples'}:
        found.pop('steps_per_epoch', None)  # follows from them
    return found


def check_same(
    then: Mapping[str, object], now: Mapping[str, object], path: Path, anyway: Sequence[str] = ()
) -> list[str]:
    """Refuse to continue with other samples or another teacher.

    Args:
        then: `identity_of` the run that was saved.
        now: `identity_of` the run that continues it.
        path: for messages.
        anyway: names in `NAMES` of what may differ.

    Returns:
        A line for each difference that `anyway` allows.

    Raises:
        CheckpointError: something else differs.
        ConfigError: `anyway` has an unknown name.
    """
    unknown = sorted(set(anyway) - set(NAMES))
    if unknown:
        raise ConfigError(f'resume_anyway takes {", ".join(NAMES)}, not {", ".join(unknown)}')
    changed = differences(then, now)
    refused = [name for name in changed if name not in anyway]
    if refused:
        samples = 'learn something else' if refused == ['teacher'] else 'see other samples'
        raise CheckpointError(
            f'{path} cannot be resumed: {"; ".join(changed[name] for name in refused)}, so the '
            f'run would {samples}; restore it, start anew with load_from, or accept it '
            f'with resume_anyway {" ".join(changed)}'
        )
    return list(changed.values())


def fingerprint(dataset: object) -> str | None:
    """A hash of a dataset that does not depend on its folder.

    It covers up to 4096 samples, evenly spread: the label, and the last two parts of the path, or
    the image itself if it is in memory. Nothing is read from the disk.

    Args:
        dataset: with `get_data_info`, or with a `source` that has it.

    Returns:
        16 hexadecimal digits; None for a dataset without `get_data_info`.
    """
    source: Any = getattr(dataset, 'source', dataset)
    if not hasattr(source, 'get_data_info'):
        return None
    found = hashlib.sha256(f'{len(source)}'.encode(errors='surrogateescape'))
    count = min(len(source), _LOOKED_AT)
    for number in range(count):
        info = source.get_data_info(number * len(source) // count)
        path = str(info.get('img_path', '')).replace('\\', '/')
        found.update(
            f'{"/".join(path.split("/")[-2:])} {info.get("gt_label")}\n'.encode(
                errors='surrogateescape'
            )
        )
        if 'img' in info:
            found.update(np.ascontiguousarray(info['img']).tobytes())
    return found.hexdigest()[:16]


# --- the options of the optimizer: those of the checkpoint stay -------------------------------


def restore_optimizer(
    wrapper: StepWrapper, state: Mapping[str, Any], path: Path, scheduled: Collection[str] = ()
) -> str | None:
    """Load the state of an optimizer and with it, as always in torch, its options.

    Args:
        wrapper: optimizer wrapper as the config builds it.
        state: `wrapper.state_dict()` of the run that was saved.
        path: for messages.
        scheduled: options that a schedule changes, which are not compared with the config.

    Returns:
        A line about the options of the config that have no effect; None if there are none.

    Raises:
        CheckpointError: the state is of another type of optimizer or of other parameter groups.
    """
    optimizer = wrapper.optimizer
    wanted, saved = optimizer.param_groups, state['param_groups']
    options = list(optimizer.defaults)  # loading adds to them
    if len(saved) != len(wanted):
        raise CheckpointError(
            f'{path} cannot be resumed: its optimizer has {len(saved)} groups of parameters and '
            f"the config's {len(wanted)}; weight_decay (from or to 0), paramwise_cfg or what is "
            'frozen has changed'
        )
    saved = [{**then, **_of_config(now)} for then, now in zip(saved, wanted, strict=True)]
    averages = _parts(optimizer, state['state'])
    wrapper.load_state_dict({**state, 'state': averages, 'param_groups': saved})
    _lay_out(optimizer)
    stays = optimizer.param_groups  # others than before
    if unknown := set(options) - stays[0].keys():
        raise CheckpointError(
            f'{path} cannot be resumed: its optimizer is of another type, without '
            f'{", ".join(sorted(unknown))}'
        )
    lines = {}
    for name in options:
        for now, then in zip(wanted, stays, strict=True):
            if not _is_moved(name, scheduled) and _comparable(now[name]) != _comparable(then[name]):
                lines[name] = f'{name}={now[name]!r} has no effect: {then[name]!r} of {path} stays'
    return '; '.join(f'optim_wrapper.optimizer.{line}' for line in lines.values()) or None


def _parts(optimizer: torch.optim.Optimizer, state: Mapping[int, State]) -> dict[int, State]:
    """The state of an optimizer with averages in parts, as its parameters are."""
    params = [param for group in optimizer.param_groups for param in group['params']]
    parts = {number: dict(of_one) for number, of_one in state.items()}
    for number, param in enumerate(params):
        of_one = parts.get(number, {})
        for name, value in of_one.items():
            if isinstance(value, Tensor) and value.shape == param.shape:
                of_one[name] = like(value, param)
    return parts


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give averages the strides of their parameters, as in a new optimizer.

    A checkpoint holds them contiguously; a fused optimizer reads all of them in the order of the
    memory, and would pair values with the averages of others.
    """
    for param, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.shape != param.shape:
                continue
            if value.stride() != param.stride():
                state[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)


def _of_config(group: Mapping[str, object]) -> dict[str, object]:
    return {name: group[name] for name in _OF_CONFIG if name in group}


def _is_moved(name: str, scheduled: Collection[str]) -> bool:
    # mmengine calls the first of the betas the momentum.
    return name in scheduled or (name == 'betas' and 'momentum' in scheduled)


def _comparable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
