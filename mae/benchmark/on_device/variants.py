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
_CAST = {'optim_wrapper.weight_copies': False}
_COMPILED, _GRAPH = {'compile': True}, {'cuda_graph': True}
# Name, config, batch, changes, settings. The last ones cost most and are left out first.
_VARIANTS: tuple[tuple[str, str, int, dict[str, Any], dict[str, Any]], ...] = (
    ('ViT-B, 64', BASE, 64, {}, {}),
    ('ViT-B, 64, weights cast by autocast', BASE, 64, _CAST, {}),
    ('ViT-B, 64, CUDA graph', BASE, 64, {}, _GRAPH),
    ('ViT-B, 64, compiled', BASE, 64, {}, _COMPILED),
    ('ViT-B, 128', BASE, 128, {}, {}),
    ('ViT-B, 256', BASE, 256, {}, {}),
    ('ViT-B, 512', BASE, 512, {}, {}),
    ('ViT-B, 256, bf16 residual', BASE, 256, _RESIDUAL, {}),
    ('ViT-B, 256, cheap recomputed', BASE, 256, _recompute('cheap'), {}),
    ('ViT-B, 256, blocks recomputed', BASE, 256, _recompute('blocks'), {}),
    ('ViT-L, 128', LARGE, 128, {}, {}),
    ('ViT-H, 128', HUGE, 128, {}, {}),
    ('ViT-B, 64, compiled, CUDA graph', BASE, 64, {}, _COMPILED | _GRAPH),
)


def checks(place: CheckedDevice) -> Iterator[Check]:
    """One check a variant."""
    for name, config, batch, changes, how in _VARIANTS:
        compiled, graphed = how.get('compile', False), how.get('cuda_graph', False)
        if not (place.quick and compiled) and (place.on_gpu or not graphed):
            yield name, partial(_measure, place, config, batch, changes, how)


def _measure(
    place: CheckedDevice, config: str, batch: int, changes: dict[str, Any], how: dict[str, Any]
) -> Figures:
    """Eight steps after three; the peak is the allocator's, weights and optimizer included."""
    settings = place.settings(config, batch, changes=changes, **how)
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
