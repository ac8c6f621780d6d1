"""Importing this package registers every model and part under its name."""

from mae.models import (
    algorithms,
    decoders,
    encoders,
    heads,
    losses,
    masking,
    necks,
    preprocessors,
    targets,
)

__all__ = [
    'algorithms',
    'decoders',
    'encoders',
    'heads',
    'losses',
    'masking',
    'necks',
    'preprocessors',
    'targets',
]
