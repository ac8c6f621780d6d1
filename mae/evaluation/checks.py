"""Checks of features, neighbours and votes; an error is one line that names both sizes.

Only shapes, types and devices are read, unless a docstring says otherwise: reading values
synchronises with the device.

Shapes: M images of the bank, B queries, D width.
"""

import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from mae.utils.errors import ConfigError, NonFiniteError


def check_bank(bank: Tensor, labels: Tensor) -> None:
    """Refuse what is no bank: features (M, D) and labels (M,), M and D at least 1.

    Raises:
        ValueError: another shape or type, or on two devices.
    """
    check_tensor('the features of the bank', bank)
    check_tensor('the labels of the bank', labels)
    if bank.ndim != 2 or not bank.is_floating_point() or not bank.numel():
        raise ValueError(
            f'the features of the bank must be floats (M, D) of at least one image, not '
            f'{type_and_shape(bank)}'
        )
    if labels.shape != bank.shape[:1] or not is_whole(labels):
        raise ValueError(
            f'the {len(bank)} images of the bank need whole numbers ({len(bank)},) as labels, not '
            f'{type_and_shape(labels)}'
        )
    check_same_device('the labels of the bank', labels, 'its features', bank)


def check_queries(queries: Tensor, bank: Tensor) -> None:
    """Refuse queries that are not features (B, D) as wide as those of the bank.

    Raises:
        ValueError: another shape, width or type, or on another device.
    """
    check_tensor('the queries', queries)
    if queries.ndim != 2 or not queries.is_floating_point():
        raise ValueError(f'the queries must be floats (B, D), not {type_and_shape(queries)}')
    if queries.shape[1] != bank.shape[1]:
        raise ValueError(
            f'the queries are {queries.shape[1]} wide, the features of the bank {bank.shape[1]}'
        )
    check_same_device('the queries', queries, 'the bank', bank)


def check_same_device(what: str, one: Tensor, beside: str, other: Tensor) -> None:
    """Refuse two tensors that are compared but lie on two devices.

    Raises:
        ValueError: names both.
    """
    if one.device != other.device:
        raise ValueError(f'{what} lie on {one.device}, {beside} on {other.device}')


def check_finite(features: Tensor, labels: Tensor) -> None:
    """Refuse a bank with features that are NaN or infinite, or labels below 0; reads the values.

    Raises:
        NonFiniteError: names how many of how many images.
        ValueError: likewise of the labels.
    """
    if broken := int((~features.isfinite().all(dim=1)).sum()):
        raise NonFiniteError(
            f'the features of {broken} of the {len(features)} images of the bank are NaN or '
            'infinite: the weights are broken, or the numbers too large for their type'
        )
    if unknown := int((labels < 0).sum()):
        raise ValueError(f'{unknown} of the {len(labels)} images of the bank have no label')


def check_temperature(temperature: float | None, name: str = 'temperature') -> None:
    """Refuse a temperature with which votes would rank backwards or not at all.

    Args:
        temperature: None counts each vote as 1.
        name: config key, for the message.

    Raises:
        ConfigError: not positive and finite.
    """
    if temperature is None:
        return
    if not is_number(temperature) or not sys.float_info.min <= temperature < float('inf'):
        raise ConfigError(
            f'{name} must be a positive number, or None for equal votes, not {temperature!r}'
        )


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 1 on."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is of integers; bool counts as none."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def check_tensor(what: str, value: object) -> None:
    """Refuse arrays and lists.

    Raises:
        ValueError: names its type.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f'{what} must be a tensor, not a {type(value).__name__}')


def is_number(value: object) -> bool:
    """Whether a value is a real number; a bool counts as none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def type_and_shape(tensor: Tensor) -> str:
    """Type and shape, for messages: `float32 (3, 4)`."""
    return f'{str(tensor.dtype).removeprefix("torch.")} {tuple(tensor.shape)}'


def class_name(dataset_meta: Mapping[str, Any] | None, label: int) -> str:
    """Name of a class, or its number where the dataset does not name it."""
    names = (dataset_meta or {}).get('classes') or ()
    return str(names[label]) if label < len(names) else str(label)
