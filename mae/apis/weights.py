"""Weights from a file into a model, with a report of what became of them."""

from pathlib import Path
from typing import Any

from torch import nn

from mae.apis.likely import likely_config
from mae.engine import checkpoint as engine
from mae.utils.errors import CheckpointError

# Key maps between formats come with `mae.zoo.formats`, and the engine's `load_weights` asks them.
_READ_ANY = getattr(engine, 'load_weights', None)


def read_weights(path: Path) -> dict[str, Any]:
    """What a file holds, in our names where they are known.

    The only place that asks for the key maps.

    Returns:
        The weights under `state_dict`, and what else the file says.

    Raises:
        CheckpointError: it cannot be read, or holds no weights.
    """
    if _READ_ANY is not None:
        found: dict[str, Any] = _READ_ANY(path)
        return found
    return engine.load_checkpoint(path)


def load_into(
    model: nn.Module, found: dict[str, Any], path: Path, *, exact: bool
) -> engine.LoadReport:
    """Load weights, or say which shipped config they would fit.

    Args:
        model: to be filled.
        found: from `read_weights`.
        path: where they came from, for messages.
        exact: see `fit_weights`.

    Raises:
        CheckpointError: they are of another architecture; names the first keys and shapes that
            differ, and a config that fits.
    """
    weights = found['state_dict']
    more = {name: found[name] for name in ('facts', 'notes') if _READ_ANY is not None}
    likely = likely_config(weights)  # before names are taken away
    try:
        return engine.fit_weights(model, dict(weights), path, exact=exact, **more)
    except CheckpointError as error:
        hint = f'; it looks like a file for {likely}' if likely else ''
        raise CheckpointError(f'{error}{hint}') from None
