"""Memory of a training step: what one more image costs, and whether a batch fits.

On a GPU: the allocator's peak during forward and backward, above what was there before. On a CPU,
which has no such counter: the bytes that autograd keeps for the backward pass, each storage once,
parameters and buffers not counted. The difference between a whole and half a batch, over the
difference in images, is the figure per image; casts of weights and the like cancel out.

Shapes: N tokens, D width, M images of the bank.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mae.benchmark.measure import available_memory
from mae.benchmark.ours import meta_model
from mae.benchmark.peers import TrainingSystem
from mae.benchmark.settings import Settings
from mae.utils.text import readable_size

Loss = Callable[[int], Tensor]


def activation_bytes(loss: Loss, model: nn.Module, size: int, device: torch.device) -> int:
    """Peak of one forward and backward pass beyond weights, gradients and optimizer.

    Args:
        loss: takes a number of images and returns their loss.
        model: its parameters do not count.
        size: number of images.
    """
    if device.type == 'cuda':
        return _allocated(loss, model, size)
    return _saved(loss, model, size)


def activation_bytes_per_image(
    loss: Loss, model: nn.Module, size: int, device: torch.device, *, least: int = 1
) -> tuple[int, float]:
    """Bytes of a batch of `size` images, and of one more image (from half a batch).

    Args:
        loss: takes a number of images and returns their loss.
        model: its parameters do not count.
        size: number of images.
        device: where it runs.
        least: images that the model takes at least.
    """
    whole, half = size, max(least, size // 2)
    of_whole = activation_bytes(loss, model, whole, device)
    if whole == half:
        return of_whole, of_whole / whole
    of_half = activation_bytes(loss, model, half, device)
    return of_whole, (of_whole - of_half) / (whole - half)


def static_bytes(model: nn.Module) -> int:
    """Weights, and for those that are trained a gradient and AdamW's two averages."""
    own = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return own + 3 * trained


def _saved(loss: Loss, model: nn.Module, size: int) -> int:
    return kept_bytes(lambda: loss(size), (*model.parameters(), *model.buffers()))


def kept_bytes(forward: Callable[[], Any], ignored: Iterable[Tensor] = ()) -> int:
    """What autograd keeps of a forward pass, each storage once; fake tensors count too.

    Args:
        forward: the forward pass to measure.
        ignored: tensors whose storages do not count.
    """
    left_out = {tensor.untyped_storage()._cdata for tensor in ignored}
    kept: dict[int, Any] = {}  # holding the storages keeps their addresses from being used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in left_out:
            kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept.values())


def _allocated(loss: Loss, model: nn.Module, size: int) -> int:
    for param in model.parameters():  # so that the gradients are there before, and not counted
        if param.requires_grad and param.grad is None:
            param.grad = torch.zeros_like(param)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss(size).backward()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    model.zero_grad(set_to_none=True)
    return int(peak)


def require_memory(needed: float, available: int | None, what: str, remedy: str) -> None:
    """Refuse before anything is allocated.

    Raises:
        ValueError: says how much is needed and how much there is.
    """
    if available is not None and needed > available:
        raise ValueError(
            f'{what} needs about {readable_size(needed)} of memory, but '
            f'{readable_size(available)} are free: {remedy}'
        )


_PEERS_KEEP = 1.6  # activations of the peers over ours


def require_memory_to_train(
    settings: Settings, systems: int, build: Callable[[Settings], TrainingSystem]
) -> None:
    """Refuse a batch that cannot fit, by what one and two images take of ours.

    Args:
        settings: the comparison.
        systems: number of systems in memory at once.
        build: builds ours for other settings.

    Raises:
        ValueError: says how much memory is needed, how much there is, and what would fit.
    """
    available = available_memory(settings.device)
    static = systems * static_bytes(meta_model(settings))
    what = f'{systems} systems with weights, gradients and AdamW'
    require_memory(static, available, what, 'compare with fewer --peers')
    one = settings.least_batch
    pair = build(replace(settings, batch_size=2 * one, compile=False))
    of_two, of_one = (
        activation_bytes(pair.loss, pair.model, n, settings.device) for n in (2 * one, one)
    )
    # Each keeps in its own process what its activations took.
    each = (of_two - of_one) / one * (1 + _PEERS_KEEP * (systems - 1))
    _require_batch(settings, available, each, static, f'{systems} systems')


def require_memory_to_evaluate(settings: Settings, bank: int) -> None:
    """Refuse a batch whose features cannot be taken, by the least that an image needs.

    Args:
        settings: the comparison.
        bank: M.

    Raises:
        ValueError: says how much memory is needed, how much there is, and what would fit.
    """
    available = available_memory(settings.device)
    encoder = meta_model(settings).encoder.requires_grad_(False)
    height, width = encoder.img_size
    N = encoder.grid_size[0] * encoder.grid_size[1] + encoder.num_prefix_tokens
    # uint8, normalised for the peers, and normalised in our step; then a block at its widest: the
    # sum, its norm, and the hidden values of the MLP on both sides of the GELU.
    pixels = (1 + 4 + 4) * encoder.in_channels * height * width
    mlp = encoder.blocks[0].mlp.fc1
    each_token = mlp.in_features + 2 * mlp.out_features
    tokens = N * (4 * mlp.in_features + settings.dtype.itemsize * each_token)
    static = static_bytes(encoder) + 2 * 4 * bank * encoder.embed_dim  # as drawn, and of length 1
    require_memory(static, available, f'a bank of {bank:,} images', 'lower --bank')
    _require_batch(settings, available, pixels + tokens, static, f'a bank of {bank:,}')


def _require_batch(
    settings: Settings, available: int | None, each: float, static: float, what: str
) -> None:
    if available is None:
        return
    most = int((available - static) / each)
    require_memory(
        static + each * settings.batch_size,
        available,
        f'a batch of {settings.batch_size}',
        f'{readable_size(static)} for {what}, {readable_size(each)} an image; '
        f'--batch {most} would fit',
    )
