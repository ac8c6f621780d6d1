"""`compile`: the transformer blocks are compiled, which share their code and shapes.

So are target and loss of pixels, whose elementwise operators become a few kernels.

mmengine compiles the whole `train_step`, with backward pass and optimizer, which breaks into
pieces at every hook and `.item()`. A block has no branch that depends on data and is most of the
work. With single blocks the all-reduce of gradients still overlaps with the backward pass.
"""

import inspect
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from mae.utils.errors import ConfigError
from mae.utils.runner_protocol import RunnerProtocol
from mae.utils.sharded import is_sharded
from mae.utils.suggest import did_you_mean


def compile_blocks(blocks: Iterable[nn.Module], options: Mapping[str, Any] | bool | None) -> bool:
    """Compile each of `blocks` in place, for the one shape that training has.

    Args:
        blocks: modules of one class; after them perhaps others, see `compiled_parts`.
        options: arguments of `torch.compile`, or True for its defaults; None or False: nothing is
            compiled.

    Returns:
        Whether they will run compiled; without a working compiler there is a warning instead.

    Raises:
        ConfigError: an argument, mode or back-end that `torch.compile` does not know, or one that
            records CUDA graphs.
    """
    if options is None or options is False:
        return False
    arguments = {'dynamic': False, **(options if isinstance(options, Mapping) else {})}
    _check(arguments)
    blocks = list(blocks)
    if not blocks:
        warnings.warn('compile has no effect: the model names no blocks', stacklevel=2)
        return False
    device = next(blocks[0].parameters()).device
    if (reason := _why_not(device, arguments)) is not None:
        warnings.warn(f'compile has no effect: {reason}; running without', stacklevel=2)
        return False
    # Blocks share their code, which is compiled anew for what is fixed in it: training or
    # evaluation, a window, the queries of a decoder's last block.
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, 2 * len(blocks) + 2)
    # DDP's buckets of 25 MB would cut every block into two graphs, for an all-reduce that overlaps
    # with the other blocks anyway.
    torch._dynamo.config.optimize_ddp = False
    from torch._inductor import config

    config.fallback_random = True  # drop path draws the same numbers as uncompiled
    for block in blocks:
        if is_sharded(block):  # without the hooks that gather its weights, which differ by block
            block.forward = torch.compile(block.forward, **arguments)
        else:
            block.compile(**arguments)
    return True


def compiled_parts(model: Any) -> list[nn.Module]:
    """The blocks of a model, then what it names in `pixel_parts()`, if it has that."""
    return [*model.blocks(), *getattr(model, 'pixel_parts', list)()]


def without_recompiling(now: bool) -> AbstractContextManager[Any]:
    """A context in which compiled blocks run as they are where they have no code for a shape.

    Args:
        now: False changes nothing.
    """
    return torch.compiler.set_stance('eager_on_recompile') if now else nullcontext()


class CompileTimeHook(Hook):
    """Logs how long the first step took, most of which is compilation, beside the second."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._start = 0.0

    def before_train_iter(
        self, runner: RunnerProtocol, batch_idx: int, data_batch: object = None
    ) -> None:
        """Start the clock."""
        if len(self._seconds) < 2:
            self._start = time.perf_counter()

    def after_train_iter(
        self,
        runner: RunnerProtocol,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """After the second step, log both; on a GPU the time until they were queued."""
        if len(self._seconds) == 2:
            return
        self._seconds.append(time.perf_counter() - self._start)
        if len(self._seconds) == 2:
            first, second = self._seconds
            runner.logger.info(
                f'compiled: the first step took {first:.1f} s, the second {second:.2f} s'
            )


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuse what `torch.compile` does not know, before anything is built on it."""
    known = [name for name in inspect.signature(torch.compile).parameters if name != 'model']
    for name in arguments:
        if name not in known:
            hint = did_you_mean(name, known, 'compile.')
            raise ConfigError(f'compile.{name}: torch.compile has no such argument{hint}')
    for name in ('dynamic', 'fullgraph', 'disable'):
        if not isinstance(value := arguments.get(name), bool | None):
            raise ConfigError(f'compile.{name} must be True or False, not {value!r}')
    backend = arguments.get('backend', 'inductor')
    if not (callable(backend) or backend in torch._dynamo.list_backends(None)):
        usual = ', '.join(torch._dynamo.list_backends())
        raise ConfigError(f'compile.backend must be one of {usual}, not {backend!r}')
    mode, options = arguments.get('mode'), arguments.get('options') or {}
    _check_options(mode, options, backend)
    if mode is not None:
        from torch._inductor import list_mode_options

        modes = list_mode_options()
        if mode not in list(modes):
            raise ConfigError(f'compile.mode must be one of {", ".join(modes)}, not {mode!r}')
        options = modes[mode]
    if backend == 'cudagraphs' or options.get('triton.cudagraphs'):
        key = 'backend' if backend == 'cudagraphs' else 'options' if mode is None else 'mode'
        raise ConfigError(
            f'compile.{key}={arguments[key]!r} records CUDA graphs, which the blocks cannot: they '
            "are compiled one by one and share their code; take compile.mode='default' or "
            "'max-autotune-no-cudagraphs'"
        )


def _check_options(mode: object, options: object, backend: object) -> None:
    """Refuse `compile.options` that Inductor does not know, or of which `mode` takes the place."""
    if not isinstance(options, Mapping):
        raise ConfigError(f'compile.options must be a dict of options, not {options!r}')
    if mode is not None and options:
        raise ConfigError('compile takes mode or options, not both: a mode is a set of options')
    if backend != 'inductor':
        return
    from torch._inductor import config

    known = config.get_config_copy()
    for name, value in options.items():
        key = str(name).replace('-', '_')
        if key not in known:
            hint = did_you_mean(key, known, 'compile.options.')
            raise ConfigError(f'compile.options: Inductor has no option {name!r}{hint}')
        if isinstance(known[key], bool) and not isinstance(value, bool):
            raise ConfigError(f'compile.options.{name} must be True or False, not {value!r}')


def _why_not(device: torch.device, arguments: Mapping[str, Any]) -> str | None:
    """Try to compile for `device`; returns why that fails, None if it works."""
    try:
        torch.compile(torch.sin, **arguments)(torch.ones(2, device=device))
    except Exception as error:  # whatever a compiler that is missing or broken raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Dynamo's first line only names its back-end; the error is in the next one.
        lines = lines[1:] if len(lines) > 1 and lines[0].endswith('raised:') else lines
        return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__
    return None
