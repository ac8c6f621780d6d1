"""Which back-ends of attention give the same gradients twice, bit by bit.

Their speeds are measured by `tools/benchmark.py attention`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mae.benchmark import PEERS
from mae.benchmark.attention import shapes_of
from mae.benchmark.on_device.checking import BASE, HUGE, Check, CheckedDevice
from mae.benchmark.ours import meta_model
from mae.benchmark.report import Figures
from mae.models.layers.attention import attend

_TIMES = 5


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Each back-end at the shapes of ViT-B and ViT-H."""
    models = (BASE, 256), (HUGE, 64)
    for config, batch in models[:1] if place.quick else models:
        settings = place.settings(config, batch)
        for where, (heads, sizes) in shapes_of(meta_model(settings), settings.batch_size).items():
            for backend in PEERS['attention']:
                yield (
                    f'{backend}, {config.partition("_8x")[0]}, {where}',
                    partial(_repeat, place, backend, heads, sizes),
                )


def _repeat(
    place: CheckedDevice, backend: Any, heads: int, sizes: list[tuple[int, int, int]]
) -> Figures:
    """A back-end that does not run here is one of the figures, and no failure."""
    torch.manual_seed(0)
    projected = [
        torch.randn(size, device=place.device, dtype=torch.bfloat16, requires_grad=True)
        for size in sizes
    ]
    try:
        first = _gradients(heads, projected, backend)
    except (RuntimeError, ValueError) as error:
        return {'runs': False, 'reason': str(error).splitlines()[0][:120]}
    again = (_gradients(heads, projected, backend) for _ in range(_TIMES - 1))
    same = all(torch.equal(a, b) for found in again for a, b in zip(first, found, strict=True))
    return {'runs': True, 'same_bits': same, 'times': _TIMES}


def _gradients(heads: int, projected: list[Tensor], backend: Any) -> tuple[Tensor, ...]:
    out = attend(heads, *projected, backend=backend)
    return torch.autograd.grad(out, projected, torch.ones_like(out))
