"""Copies of weights in the type of autocast, written once an optimizer step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mae.utils.errors import ConfigError


class WeightCopies:
    """The copies that layers with an attribute `weight_copies` compute with, see `AmpLinear`.

    Autocast casts each weight in each forward pass, by a kernel of its own: in every micro-batch,
    and again where a pass is recomputed. Here one call writes all of them at the start of a step,
    whatever has changed the weights since the last one: the optimizer, a checkpoint, an average.

    Args:
        layers: modules with `weight_copies`, a weight and a bias.
        dtype: of autocast.
    """

    def __init__(self, layers: Sequence[Any], dtype: torch.dtype) -> None:
        self._layers = layers
        self._copies = [
            tuple(torch.empty_like(value, dtype=dtype) for value in _values(layer))
            for layer in layers
        ]

    @classmethod
    def of(
        cls, model: nn.Module, dtype: torch.dtype | None, *, required: bool
    ) -> 'WeightCopies | None':
        """Those of a model; None if it cannot have any.

        Args:
            model: perhaps in a wrapper for distributed training.
            dtype: of autocast; None without it.
            required: whether it is an error that it cannot have any.

        Raises:
            ConfigError: no layer computes with copies, or the wrapper keeps only a part of each
                weight in a process.
        """
        layers = [layer for layer in model.modules() if hasattr(layer, 'weight_copies')]
        reason = _why_not(layers)
        if reason and required:
            raise ConfigError(f'optim_wrapper.weight_copies=True: {reason}')
        return None if reason or dtype is None else cls(layers, dtype)

    def write(self) -> None:
        """Copy the weights as they are now, for the layers to compute with."""
        weights = [value for layer in self._layers for value in _values(layer)]
        torch._foreach_copy_([copy for copies in self._copies for copy in copies], weights)
        for layer, copies in zip(self._layers, self._copies, strict=True):
            layer.weight_copies = copies

    def withdraw(self) -> None:
        """From now on the layers compute with their weights, which a step changes."""
        for layer in self._layers:
            layer.weight_copies = None


def _values(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight.detach(), layer.bias.detach()


def _why_not(layers: Sequence[Any]) -> str | None:
    """Why copies of the weights of these layers cannot take their place, if so."""
    if not layers:
        return 'no layer of the model computes with copies of its weights'
    for layer in layers:
        is_whole = layer.weight.shape == (layer.out_features, layer.in_features)
        if not is_whole or hasattr(layer.weight, 'device_mesh'):
            return 'the wrapper of the model keeps only a part of each weight in a process'
    return None
