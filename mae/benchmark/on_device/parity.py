"""The device computes what a CPU does: masks, losses, gradients; it skips what is not finite.

With copies of the weights, and replayed as a CUDA graph, a step has the bits that it has without.

Shapes: B images.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mae.benchmark.on_device.checking import BASE, MINI, Check, CheckedDevice, UnfulfilledError
from mae.benchmark.ours import build_model, build_optim_wrapper
from mae.benchmark.report import Figures
from mae.benchmark.settings import Settings
from mae.engine.cuda_graph import GraphedStep
from mae.registry import MODELS

_MASKERS = ('RandomMasker', 'GridMasker', 'BlockMasker')
_CHUNK = 10_000
# Relative. Float32 sums in another order; bfloat16 has 8 bits.
_TOLERANCES = {'float32': (1e-5, 1e-3), 'bfloat16': (1e-2, 0.1)}


def checks(place: CheckedDevice) -> Iterator[Check]:
    """Masks by every masker, losses and gradients of two models in two precisions, a bad step."""
    for kind in _MASKERS:
        yield f'masks of {kind}', partial(_masks, place, kind)
    for name, config, batch in ('mini', MINI, 64), ('ViT-B', BASE, 4):
        for dtype in _TOLERANCES:
            yield f'{name}, {dtype}', partial(_gradients_agree, place, config, batch, dtype)
    yield 'step that is not finite', lambda: _skips(place)
    yield 'copies of weights', partial(_same_bits, place, weight_copies=True)
    if place.on_gpu:
        yield 'CUDA graph', partial(_same_bits, place, cuda_graph=True)


def _masks(place: CheckedDevice, kind: str) -> Figures:
    """Keys whose hidden patches differ between the device and a CPU."""
    number = 500 if place.quick else 100_000
    masker: Any = MODELS.build({'type': kind, 'mask_ratio': 0.75})
    generator = torch.Generator().manual_seed(0)
    high = torch.iinfo(torch.int64).max
    keys = torch.randint(-high, high, (number,), generator=generator)
    different = 0
    for part in keys.split(_CHUNK):
        here = masker((14, 14), part).dense()
        there = masker((14, 14), part.to(place.device)).dense()
        different += int((here != there.cpu()).any(dim=1).sum())
    return _expect({'keys': number, 'different': different}, different == 0)


def _gradients_agree(place: CheckedDevice, config: str, batch: int, dtype: str) -> Figures:
    """The device in a precision beside a CPU in float32, from the same weights and keys."""
    there = place.settings(config, batch, dtype)
    here = replace(there, device=torch.device('cpu'), dtype=torch.float32)
    expected, exact = _loss_and_gradients(here)
    loss, found = _loss_and_gradients(there)
    of_loss = abs(loss - expected) / abs(expected)
    errors = {name: _relative_error(found[name], exact[name]) for name in exact}
    worst = max(errors, key=lambda name: errors[name])
    figures = {'loss': loss, 'loss_error': of_loss, 'gradient_error': errors[worst]}
    limits = _TOLERANCES[dtype]
    holds = of_loss <= limits[0] and errors[worst] <= limits[1]
    return _expect({**figures, 'worst': worst}, holds)


def _relative_error(found: Tensor, exact: Tensor) -> float:
    """Of the norm; a gradient of nothing but rounding, such as that of keys' biases, is 0."""
    scale = max(float(exact.norm()), 1e-6 * math.sqrt(exact.numel()))
    return float((found - exact).norm()) / scale


def _loss_and_gradients(settings: Settings) -> tuple[float, dict[str, Tensor]]:
    model, batch = _model_and_batch(settings)
    with settings.autocast():
        inputs = model.data_preprocessor(batch, True)
        loss = model(**inputs, mode='loss')['loss']
    loss.backward()
    gradients = {n: p.grad.float().cpu() for n, p in model.named_parameters() if p.requires_grad}
    return float(loss.detach()), gradients


def _model_and_batch(settings: Settings) -> tuple[Any, dict[str, Tensor]]:
    model: Any = build_model(settings).to(settings.device).train()
    size = settings.batch_size
    generator = torch.Generator().manual_seed(settings.seed)
    shape = (size, model.encoder.in_channels, *model.encoder.img_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    numbers = torch.arange(size)
    keys = (numbers + 1) * 0x9E3779B97F4A7C1
    return model, {'inputs': images, 'keys': keys, 'labels': numbers * 0, 'ids': numbers}


def _same_bits(
    place: CheckedDevice, *, weight_copies: bool = False, cuda_graph: bool = False
) -> Figures:
    """Five steps in bfloat16: plain ones, and as the arguments say."""
    expected, plain = _five_steps(place, weight_copies=False, cuda_graph=False)
    losses, weights = _five_steps(place, weight_copies=weight_copies, cuda_graph=cuda_graph)
    different = sum(not torch.equal(a, b) for a, b in zip(weights, plain, strict=True))
    figures = {'losses': losses, 'expected': expected, 'different_weights': different}
    return _expect(figures, losses == expected and not different)


def _five_steps(
    place: CheckedDevice, *, weight_copies: bool, cuda_graph: bool
) -> tuple[list[float], list[Tensor]]:
    """The loss of each, and the weights after the last."""
    settings = place.settings(MINI, 64, changes={'optim_wrapper.weight_copies': weight_copies})
    model, batch = _model_and_batch(settings)
    wrapper = build_optim_wrapper(settings, model)
    train_step = GraphedStep(model) if cuda_graph else model.train_step
    losses = []
    for _ in range(5):
        wrapper.begin_step([1.0])
        losses.append(float(train_step(batch, wrapper)['loss'].detach()))
    return losses, [value.detach().clone() for value in model.state_dict().values()]


def _skips(place: CheckedDevice) -> Figures:
    """A step whose loss is NaN changes neither weights nor moments nor the count of steps."""
    settings = place.settings(MINI, 64)
    model, batch = _model_and_batch(settings)
    wrapper = build_optim_wrapper(settings, model)
    batch = {name: value.to(settings.device) for name, value in batch.items()}

    def step(weight: float) -> list[Tensor]:
        wrapper.begin_step([weight])
        model.train_step(batch, wrapper)
        state = wrapper.optimizer.state
        moments = [value for params in state.values() for value in params.values()]
        return [x.detach().cpu().clone() for x in (*model.state_dict().values(), *moments)]

    before, after, later = step(1.0), step(float('nan')), step(1.0)
    kept = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    finite = all(bool(x.isfinite().all()) for x in later)
    moved = any(not torch.equal(a, b) for a, b in zip(after, later, strict=True))
    good = kept and finite and moved
    return _expect({'kept': kept, 'finite_later': finite, 'moved_later': moved}, good)


def _expect(figures: Figures, holds: bool) -> Figures:
    """The figures.

    Raises:
        UnfulfilledError: what they show does not hold.
    """
    if not holds:
        raise UnfulfilledError(figures)
    return figures
