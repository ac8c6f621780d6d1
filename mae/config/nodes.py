"""Nodes of a config: found by a dotted key, searched by value, merged."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mae.utils.errors import ConfigError

_DELETE = '_delete_'


def node_at(config: Any, key: str) -> Any:
    """The node at a key such as `model.encoder` or `custom_hooks.0.type`; None if there is none."""
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


def merged(new: Any, old: Any, place: str = '') -> Any:
    """`new` over `old`, neither of which changes.

    A dict over a dict is merged key by key, unless it has `_delete_=True`; whatever else it is, the
    new value takes the place of the old one.

    Args:
        new: from the heir.
        old: from the base; None where it has none.
        place: key of both, with dots between, for messages.

    Raises:
        ConfigError: `_delete_` is neither True nor False.
    """
    if not isinstance(new, Mapping):
        return new
    if not isinstance(new.get(_DELETE, False), bool):
        raise ConfigError(f'{place}.{_DELETE} must be True or False, not {new[_DELETE]!r}')
    is_kept = isinstance(old, Mapping) and not new.get(_DELETE)
    result = ConfigDict(old if is_kept else {})
    for key, value in new.items():
        if key != _DELETE:
            result[key] = merged(value, result.get(key), f'{place}.{key}' if place else str(key))
    return result
