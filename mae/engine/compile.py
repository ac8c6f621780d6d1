"""`compile=True`: the transformer blocks are compiled, which share their code and shapes.

mmengine compiles the whole `train_step`, with backward pass and optimizer, which breaks into
pieces at every hook and `.item()`. A block has no branch that depends on data and is most of the
work. With single blocks the all-reduce of gradients still overlaps with the backward pass.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def compile_blocks(blocks: Iterable[nn.Module], options: Mapping[str, Any] | bool | None) -> bool:
    """Compile each of `blocks` in place, for the one shape that training has.

    Args:
        blocks: modules of one class.
        options: arguments of `torch.compile`, or True for its defaults; None or False: nothing is
            compiled.

    Returns:
        Whether they will run compiled; without a working compiler there is a warning instead.
    """
    if options is None or options is False:
        return False
    blocks = list(blocks)
    if not blocks:
        warnings.warn('compile has no effect: the model names no blocks', stacklevel=2)
        return False
    arguments = {'dynamic': False, **(options if isinstance(options, Mapping) else {})}
    device = next(blocks[0].parameters()).device
    if (reason := _why_not(device, arguments)) is not None:
        warnings.warn(f'compile has no effect: {reason}; running without', stacklevel=2)
        return False
    # Blocks share their code but not the drop-path rate, which is part of it; and each runs in
    # training and in evaluation.
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, 2 * len(blocks) + 2)
    from torch._inductor import config

    config.fallback_random = True  # drop path draws the same numbers as uncompiled
    for block in blocks:
        block.compile(**arguments)
    return True


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
