"""Nodes of a config merged, as an heir with its base."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from mae.utils.errors import ConfigError

_DELETE = '_delete_'


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
