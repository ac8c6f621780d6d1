"""Every backend of attention at the shapes of a model, forward and backward.

A run takes the fastest by `mae.models.layers.attention_backends.TABLE`, which holds what was
measured with this; a config may state another for its machine.

Shapes: B images, H heads, N tokens, Q queries, D width.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from mae.benchmark import OURS
from mae.benchmark.measure import Work, alternate, available_memory, clock_of
from mae.benchmark.memory import require_memory
from mae.benchmark.ours import meta_model
from mae.benchmark.report import Report, build_report, throughput
from mae.benchmark.settings import Settings
from mae.benchmark.worker import reason
from mae.models.layers.attention import attend

Shapes = dict[str, tuple[int, list[tuple[int, int, int]]]]


def run(
    settings: Settings,
    peers: Sequence[str],
    *,
    rounds: int = 10,
    steps: int = 2,
    command: str = '',
) -> Report:
    """Time all backends, interleaved; ours is what `attention_backend='auto'` takes.

    Args:
        settings: config, batch, device, precision.
        peers: backends to compare with.
        rounds: figures for each.
        steps: passes timed together.
        command: the command line, for the report.

    Raises:
        ValueError: the batch does not fit the memory.
    """
    systems: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for place, (heads, sizes) in shapes_of(meta_model(settings), settings.batch_size).items():
        _require_memory(settings, sizes, place)
        projected = [_random(size, settings, number) for number, size in enumerate(sizes)]
        works: dict[str, Work] = {}
        for name in (OURS, *peers):
            work = _pass(name, heads, projected, settings)
            try:
                work()
            except Exception as error:  # a kernel that is not there must not end the others
                if name == OURS:
                    raise
                skipped[f'{name} at {place}'] = reason(error)
                print(f'skipped {name} at {place}: {reason(error)}', flush=True)
            else:
                works[f'{name} at {place}'] = work
        clocks = {name: clock_of(work, settings.device) for name, work in works.items()}
        timings = alternate(clocks, rounds=rounds, steps=steps)
        for name, timing in timings.items():
            systems[name] = throughput(timing, settings.batch_size)
    return build_report(
        'attention',
        systems,
        **settings.facts,
        skipped=skipped,
        command=command,
        dtype=str(settings.dtype).removeprefix('torch.'),
    )


def shapes_of(model: Any, batch_size: int) -> Shapes:
    """Heads and the shapes of what `attend` takes, at each place of a model.

    A place is named by its part, N and the width of a head, which `TABLE` asks for.
    """
    encoder = model.encoder
    L, prefix = encoder.grid_size[0] * encoder.grid_size[1], encoder.num_prefix_tokens
    K = model.masker.num_keep(L) if hasattr(model, 'masker') else L
    places = [('encoder', encoder.num_heads, encoder.embed_dim, K + prefix, None)]
    if hasattr(getattr(model, 'decoder', None), 'num_heads'):
        decoder = model.decoder
        D, N = decoder.embed_dim, L + prefix
        places += [('decoder', decoder.num_heads, D, N, None)]
        places += [('its last block', decoder.num_heads, D, N, L - K)]
    found: Shapes = {}
    for part, heads, D, N, Q in places:
        sizes = [(batch_size, N, 3 * D)]
        if Q is not None:
            sizes = [(batch_size, Q, D), (batch_size, N, 2 * D)]
        found[f'{part}, {N} x {D // heads}'] = (heads, sizes)
    return found


def _require_memory(settings: Settings, sizes: list[tuple[int, int, int]], place: str) -> None:
    """Refuse a batch of which queries, keys and values and their gradients do not fit."""
    needed = 2 * settings.dtype.itemsize * sum(map(prod, sizes))
    available = available_memory(settings.device)
    require_memory(needed, available, f'--batch {settings.batch_size:,}: {place}', 'lower --batch')


def _pass(name: str, heads: int, projected: list[Tensor], settings: Settings) -> Callable[[], None]:
    backend: Any = 'auto' if name == OURS else name
    forward: Callable[[], Tensor] = partial(attend, heads, *projected, backend=backend)
    if settings.compile:
        forward = torch.compile(forward, dynamic=False)

    def work() -> None:
        out = forward()
        torch.autograd.grad(out, projected, torch.ones_like(out))

    return work


def _random(size: tuple[int, int, int], settings: Settings, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(settings.seed + number)
    x = torch.randn(size, generator=generator).to(settings.device, settings.dtype)
    return x.requires_grad_()
