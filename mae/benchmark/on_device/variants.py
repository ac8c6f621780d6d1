"""Speed and memory of pre-training steps that differ in one thing, each alone on the device."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from mae.benchmark.measure import alternate, clock_of
from mae.benchmark.on_device.checking import BASE, HUGE, LARGE, Check, CheckedDevice
from mae.benchmark.ours import meta_model, pretrainer, pretraining
from mae.benchmark.report import Figures
from mae.zoo.cost import pretraining_flops, training_flops


def _recompute(kind: str) -> dict[str, Any]:
    return {f'model.{part}.recompute': kind for part in ('encoder', 'decoder')}


_RESIDUAL = {f'model.{part}.bf16_residual': True for part in ('encoder', 'decoder')}
# Name, config, batch, changes, compiled. The last ones cost most and are left out first.
_VARIANTS: tuple[tuple[str, str, int, dict[str, Any], bool], ...] = (
    ('ViT-B, 64', BASE, 64, {}, False),
    ('ViT-B, 64, compiled', BASE, 64, {}, True),
    ('ViT-B, 128', BASE, 128, {}, False),
    ('ViT-B, 256', BASE, 256, {}, False),
    ('ViT-B, 512', BASE, 512, {}, False),
    ('ViT-B, 256, bf16 residual', BASE, 256, _RESIDUAL, False),
    ('ViT-B, 256, cheap recomputed', BASE, 256, _recompute('cheap'), False),
    ('ViT-B, 256, blocks recomputed', BASE, 256, _recompute('blocks'), False),
    ('ViT-L, 128', LARGE, 128, {}, False),
    ('ViT-H, 128', HUGE, 128, {}, False),
)


def checks(place: CheckedDevice) -> Iterator[Check]:
    """One check a variant."""
    for name, config, batch, changes, compiled in _VARIANTS:
        if not (place.quick and compiled):
            yield name, partial(_measure, place, config, batch, changes, compiled)


def _measure(
    place: CheckedDevice, config: str, batch: int, changes: dict[str, Any], compiled: bool
) -> Figures:
    """Eight steps after three; the peak is the allocator's, weights and optimizer included."""
    settings = place.settings(config, batch, changes=changes, compile=compiled)
    model = meta_model(settings)
    flops = training_flops(pretraining_flops(model), model.encoder) * settings.batch_size
    if place.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    clock = clock_of(pretrainer(pretraining(settings)).step, settings.device)
    timing = alternate({'': clock}, rounds=1 if place.quick else 2, steps=4, warmup=3)['']
    figures = {
        'images_per_second': settings.batch_size / timing.median,
        'milliseconds': 1e3 * timing.median,
        'tflops': flops / timing.median / 1e12,
    }
    if place.on_gpu:
        figures['peak_gib'] = torch.cuda.max_memory_allocated() / 2**30
    return figures
