"""Our parameters under other names, so that a peer starts with our weights."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

Rules = Iterable[tuple[str, str]]


def renamed(weights: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Copies of `weights`, each name rewritten by all rules in turn.

    Args:
        weights: ours, by name.
        rules: pairs of a regular expression and what takes its place.
    """
    found = {}
    for name, value in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = value.clone()
    return found
