"""Checks of a part's inputs against what it was built for; an error names both in one line.

Checks of shapes, types and devices take microseconds and never wait for a device. Checks of values
do, so a training step skips them. Nothing is checked while `torch.compile` or `torch.export` trace
a graph.

Shapes: B images, K ids.
"""

import torch
from torch import Tensor


def check_shape(name: str, x: Tensor, *sizes: int | str, hint: str = '') -> None:
    """Refuse what is no tensor of that shape.

    Args:
        name: what to call `x` in the message.
        sizes: size of each dimension; a letter stands for any number.
        hint: what would be right, after a semicolon.

    Raises:
        ValueError: names both shapes.
    """
    if torch.compiler.is_compiling():
        return
    found: object = f'a {type(x).__name__}'
    if isinstance(x, Tensor):
        found = shape = tuple(x.shape)
        if len(shape) == len(sizes) and all(
            isinstance(size, str) or size == number
            for size, number in zip(sizes, shape, strict=True)
        ):
            return
    wanted = f'({", ".join(map(str, sizes))}{"," if len(sizes) == 1 else ""})'
    raise ValueError(f'{name} must be a tensor of shape {wanted}, not {found}{hint and "; "}{hint}')


def check_like(name: str, x: Tensor, weight: Tensor, hint: str = '') -> None:
    """Refuse a device or type other than that of `weight`; under autocast any float type will do.

    Raises:
        ValueError: names both devices, or both types.
    """
    if torch.compiler.is_compiling():
        return
    check_device(name, x, weight)
    if x.dtype == weight.dtype:
        return
    if not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
        raise ValueError(
            f'{name} must be {weight.dtype} like the weights, not {x.dtype}{hint and "; "}{hint}'
        )


def check_device(name: str, x: Tensor, other: Tensor) -> None:
    """Refuse a device other than that of `other`.

    Raises:
        ValueError: names both.
    """
    if x.device != other.device and not torch.compiler.is_compiling():
        raise ValueError(f'{name} must be on {other.device}, not on {x.device}')


def check_keys(keys: Tensor, count: int | str) -> None:
    """Refuse what is not int64 (`count`,).

    Raises:
        ValueError: names its shape or type.
    """
    check_shape('keys', keys, count)
    _check_int64('keys', keys)


def check_real(name: str, x: Tensor) -> None:
    """Refuse what has no order, complex numbers and NaN; waits for the device.

    Raises:
        ValueError: names which of the two.
    """
    if torch.compiler.is_compiling() or x.is_meta:
        return
    if x.is_complex():
        raise ValueError(f'{name} must be real numbers, not {x.dtype}')
    if x.is_floating_point() and x.isnan().any():
        raise ValueError(f'{name} is NaN in {int(x.isnan().sum())} of {x.numel()} places')


def check_ids(name: str, ids: Tensor, tokens: Tensor, count: int, *, training: bool) -> None:
    """Refuse ids that are not int64 (B, K), one row for each image, on the device of `tokens`.

    Args:
        name: what to call `ids` in the message.
        ids: patch numbers, 0..count-1.
        tokens: (B, ...), one row an image.
        count: number of patches.
        training: True skips the check of values while gradients are recorded.

    Raises:
        ValueError: names both shapes, types or devices, or the range.
    """
    if torch.compiler.is_compiling():
        return
    check_shape(name, ids, len(tokens), 'K')
    _check_int64(name, ids)
    check_device(name, ids, tokens)
    if not (training and torch.is_grad_enabled()):
        check_range(name, ids, count)


def check_range(name: str, ids: Tensor, count: int) -> None:
    """Refuse ids below 0 or from `count` on; waits for the device.

    Raises:
        ValueError: names the allowed range and the first id outside.
    """
    if ids.is_meta or not ids.numel():
        return
    outside = ids[(ids < 0) | (ids >= count)]
    if len(outside):
        raise ValueError(f'{name} must lie in 0..{count - 1}, not at {int(outside[0])}')


def _check_int64(name: str, x: Tensor) -> None:
    if x.dtype != torch.int64:
        raise ValueError(f'{name} must be {torch.int64}, not {x.dtype}')
