"""Weights from a file of any known format into a model, with a report of what became of them."""

import importlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mae.apis.likely import likely_config
from mae.engine.checkpoint import LoadReport, fit_weights, load_checkpoint
from mae.utils.errors import CheckpointError

Weights = dict[str, Tensor]


def read_weights(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Weights under our names, and what else the file says of them.

    Args:
        path: a `.pth` or `.safetensors` file, or a folder with `model.safetensors`.

    Raises:
        CheckpointError: it cannot be read, or holds no weights.
    """
    if path.is_dir():
        path = path / 'model.safetensors'
    checkpoint = load_checkpoint(path)
    meta = checkpoint.get('meta')
    return translate(checkpoint['state_dict']), meta if isinstance(meta, dict) else {}


def translate(weights: Weights) -> Weights:
    """Weights of another codebase under our names; ours as they are.

    The only place that calls the key maps.
    """
    try:
        formats = importlib.import_module('mae.zoo.formats')
    except ModuleNotFoundError:
        return weights
    translated: Weights = formats.to_mae(weights)
    return translated


def load_weights(model: nn.Module, weights: Weights, path: Path, *, exact: bool) -> LoadReport:
    """Load weights, or say which shipped config they would fit.

    Args:
        model: to be filled.
        weights: under our names.
        path: where they came from, for messages.
        exact: see `fit_weights`.

    Raises:
        CheckpointError: they are of another architecture; names the first keys and shapes that
            differ, and a config that fits.
    """
    likely = likely_config(weights)  # before names are taken away
    try:
        return fit_weights(model, dict(weights), path, exact=exact)
    except CheckpointError as error:
        hint = f'; it looks like a file for {likely}' if likely else ''
        raise CheckpointError(f'{error}{hint}') from None
