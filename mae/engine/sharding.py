"""`parallel`: whether every process has all weights (DDP), or a part of them (FSDP2).

With 'fsdp' weights, gradients and the optimizer's state are in parts; before a block runs, its
weights are gathered. Order: recomputation is inside the blocks, compiled code is called with the
gathered weights, sharding is around both. What else works with parts is in `mae/utils/sharded.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.nn.modules.batchnorm import _BatchNorm

from mae.utils.errors import ConfigError
from mae.utils.precision import EvalPrecision
from mae.utils.suggest import did_you_mean

_DTYPES = {name: getattr(torch, name) for name in ('float32', 'bfloat16', 'float16')}
# What evaluation calls beside `forward`: there, too, the weights must be gathered.
_FORWARD_METHODS = ('extract_features',)


@dataclass(frozen=True)
class Parallelism:
    """`parallel` of a config.

    Attributes:
        type: 'ddp': every process has all weights. 'fsdp': each has a part of them.
        reshard_after_forward: gather the weights of a block again for its backward pass; False
            keeps them from the forward pass on, for memory of all blocks at once.
        shard_size: number of processes that share one copy of the weights, such as the GPUs of a
            node; it divides the number of all processes. None: all of them share one.
        param_dtype: 'bfloat16' or 'float16', which `optim_wrapper.amp` must be too: the type in
            which the blocks' weights are gathered, at half the bytes. None: their own.
        reduce_dtype: 'float32', 'bfloat16' or 'float16', in which gradients are summed.
    """

    type: Literal['ddp', 'fsdp'] = 'ddp'
    reshard_after_forward: bool = True
    shard_size: int | None = None
    param_dtype: str | None = None
    reduce_dtype: str = 'float32'

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> 'Parallelism':
        """What the config of a run says.

        Raises:
            ConfigError: an unknown key or value.
        """
        options = config.get('parallel') or {}
        if not isinstance(options, Mapping):
            raise ConfigError(f"parallel must be a dict such as dict(type='fsdp'), not {options!r}")
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                hint = did_you_mean(str(name), known, 'parallel.')
                raise ConfigError(f'parallel.{name}: there is no such key{hint}')
        found = cls(**options)
        found._check()
        return found

    def _check(self) -> None:
        size = self.shard_size
        for name, is_right, right in (
            ('type', self.type in ('ddp', 'fsdp'), "'ddp' or 'fsdp'"),
            ('reshard_after_forward', isinstance(self.reshard_after_forward, bool), 'a bool'),
            (
                'shard_size',
                size is None or (type(size) is int and size > 1),
                'None or a whole number of at least 2',
            ),
            (
                'param_dtype',
                self.param_dtype in (None, 'bfloat16', 'float16'),
                "None, 'bfloat16' or 'float16'",
            ),
            ('reduce_dtype', self.reduce_dtype in tuple(_DTYPES), f'one of {", ".join(_DTYPES)}'),
        ):
            if not is_right:
                raise ConfigError(f'parallel.{name} must be {right}, not {getattr(self, name)!r}')

    @property
    def without_effect(self) -> list[str]:
        """Keys that are set and mean nothing with this type."""
        if self.type == 'fsdp':
            return []
        default = Parallelism()
        names = (field.name for field in fields(self))
        return [name for name in names if getattr(self, name) != getattr(default, name)]


def changed_rounding(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each type of number in which a run goes on with other sums than it began with.

    Args:
        then: config of the run that was saved.
        now: config of the run that continues it.
    """
    before, after = _types(then), _types(now)
    return [
        f'parallel.{name} was {before[name]} and is {after[name]} now: sums are rounded otherwise'
        for name in after
        if before[name] != after[name]
    ]


def _types(config: Mapping[str, Any]) -> dict[str, object]:
    options = dict(config.get('parallel') or {})
    options = options if options.get('type') == 'fsdp' else {}
    default = Parallelism()
    names = ('param_dtype', 'reduce_dtype')
    return {name: options.get(name, getattr(default, name)) for name in names}


def check_shardable(
    model: Any, parallel: Parallelism, config: Mapping[str, Any], world_size: int
) -> None:
    """Refuse to shard a model over a number of processes where something does not go with it.

    Raises:
        ConfigError: the model, the number of processes or another key of the config.
    """
    what = "parallel.type='fsdp'"
    if config.get('model_wrapper_cfg') is not None:
        raise ConfigError(f'{what} wraps the model itself: leave out model_wrapper_cfg')
    if not hasattr(model, 'blocks') or not model.blocks():
        raise ConfigError(
            f'{what} shards the blocks of a model, and a {type(model).__name__} names none; take '
            "parallel.type='ddp'"
        )
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            raise ConfigError(
                f'{what}: model.{name} is a {type(module).__name__}, whose statistics are not '
                "sharded; take another norm, or parallel.type='ddp'"
            )
    _check_size(parallel.shard_size, world_size)
    _check_types(model, parallel.param_dtype, config)


def _check_size(shard_size: int | None, world_size: int) -> None:
    if shard_size is None or world_size % shard_size == 0:
        return
    fitting = [str(n) for n in range(2, world_size + 1) if world_size % n == 0]
    cure = f'{" or ".join(fitting)} would' if fitting else 'leave it out'
    raise ConfigError(
        f'parallel.shard_size={shard_size} does not divide {world_size} process(es); {cure}'
    )


def _check_types(model: nn.Module, param_dtype: str | None, config: Mapping[str, Any]) -> None:
    """Products of the gathered weights are of one type only under autocast to it."""
    if param_dtype is None:
        return
    amp = (config.get('optim_wrapper') or {}).get('amp')
    if amp != param_dtype:
        raise ConfigError(
            f'parallel.param_dtype={param_dtype!r} needs the same optim_wrapper.amp, not {amp!r}'
        )
    residuals = [m.bf16_residual for m in model.modules() if hasattr(m, 'bf16_residual')]
    if get_device() == 'cpu' and not (param_dtype == 'bfloat16' and all(residuals)):
        raise ConfigError(
            f'parallel.param_dtype={param_dtype!r} on a CPU, whose LayerNorm takes no float32 with '
            "such weights: needs 'bfloat16', and bf16_residual=True in encoder and decoder"
        )
    evaluated = EvalPrecision.of(config, get_device()).name
    if config.get('val_cfg') and evaluated != param_dtype:
        raise ConfigError(
            f'parallel.param_dtype={param_dtype!r} needs evaluation in it, not in {evaluated}; set '
            f'eval_amp={param_dtype!r}'
        )


def shard(model: Any, parallel: Parallelism) -> Any:
    """Leave to each process its part of `model`, in place; all must have the same weights.

    Args:
        model: on its device, with weights started; `blocks()` are gathered one at a time, the rest
            is gathered with the whole model.
    """
    _make_contiguous(model)
    mesh = _mesh(parallel.shard_size)
    reduce = _DTYPES[parallel.reduce_dtype]
    # Autocast casts the inputs of products alone; a cast of all inputs would round the residual
    # stream. The rest of the model keeps its type, as a target is computed from what it takes.
    blocks = MixedPrecisionPolicy(
        param_dtype=_DTYPES.get(parallel.param_dtype or ''),
        reduce_dtype=reduce,
        cast_forward_inputs=False,
    )
    rest = MixedPrecisionPolicy(reduce_dtype=reduce, cast_forward_inputs=False)
    for block in model.blocks():
        fully_shard(
            block,
            mesh=mesh,
            reshard_after_forward=parallel.reshard_after_forward,
            mp_policy=blocks,
        )
    fully_shard(model, mesh=mesh, mp_policy=rest)
    for name in _FORWARD_METHODS:
        if hasattr(model, name):
            register_fsdp_forward_method(model, name)
    _gather_once(model)
    return model


def _mesh(shard_size: int | None) -> DeviceMesh:
    """Of all processes; with `shard_size` of two dimensions: copies of the weights, their parts."""
    world, device = get_world_size(), get_device()
    if shard_size in (None, world):
        return init_device_mesh(device, (world,))
    shape = (world // shard_size, shard_size)
    return init_device_mesh(device, shape, mesh_dim_names=('copy', 'part'))


def _gather_once(model: nn.Module) -> None:
    """Make the memory for gathered weights, which stays of the kind that it is made as.

    If a validation were the first to gather, in inference mode, no training could write to it.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.unshard()
            module.reshard()


def _make_contiguous(model: nn.Module) -> None:
    """FSDP2 takes no other parameters, such as those with channels last."""
    for module in model.modules():
        for name, param in module.named_parameters(recurse=False):
            if not param.is_contiguous():
                made = nn.Parameter(param.detach().contiguous(), param.requires_grad)
                setattr(module, name, made)
