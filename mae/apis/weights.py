"""Weights from a file into a model, with a report of what became of them."""

from pathlib import Path
from typing import Any

from torch import nn

from mae.apis.likely import likely_config
from mae.engine.checkpoint import LoadReport, fit_weights
from mae.utils.errors import CheckpointError


def load_into(model: nn.Module, found: dict[str, Any], path: Path, *, exact: bool) -> LoadReport:
    """Load weights, or say which shipped config they would fit.

    Args:
        model: to be filled.
        found: from `load_weights`.
        path: where they came from, for messages.
        exact: see `fit_weights`.

    Raises:
        CheckpointError: they are of another architecture; names the first keys and shapes that
            differ, and a config that fits.
    """
    weights = found['state_dict']
    more = {name: found[name] for name in ('facts', 'notes')}
    likely = likely_config(weights)  # before names are taken away
    try:
        return fit_weights(model, dict(weights), path, exact=exact, **more)
    except CheckpointError as error:
        hint = f'; it looks like a file for {likely}' if likely else ''
        raise CheckpointError(f'{error}{hint}') from None
