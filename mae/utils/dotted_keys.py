"""Nodes of a config by their keys, such as `model.encoder` or `custom_hooks.0.type`."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config


def node_at(config: Any, key: str) -> Any:
    """The node at a key; None if there is none."""
    node = config
    for part in key.split('.') if key else ():
        if isinstance(node, list | tuple):
            node = node[int(part)] if part.isdecimal() and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, Mapping | Config) else None
    return node


def places_of(config: Any, value: Any, path: str = '') -> list[str]:
    """The keys of a config that hold `value`."""
    found: list[str] = []
    if value is None:
        return found
    items = enumerate(config) if isinstance(config, list | tuple) else config.items()
    for key, node in items:
        here = f'{path}.{key}' if path else str(key)
        if type(node) is type(value) and node == value:
            found.append(here)
        elif isinstance(node, Mapping | list | tuple):
            found += places_of(node, value, here)
    return found
