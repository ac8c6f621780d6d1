"""`--cfg-options`: values of a config given on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from mae.config.literals import parse_value
from mae.config.merge import merged
from mae.utils.errors import ConfigError


def parse_options(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`['a.b=1', ...]` to `{'a.b': 1, ...}`; `parse_value` says how a value is written.

    Raises:
        ConfigError: not KEY=VALUE, or a value whose brackets or quotes do not close.
    """
    options = {}
    for pair in pairs or ():
        key, separator, value = pair.partition('=')
        key = key.strip()
        if not separator or not all(key.split('.')):
            raise ConfigError(f'--cfg-options takes KEY=VALUE, such as a.b=1, not {pair!r}')
        try:
            options[key] = parse_value(value)
        except ValueError as error:
            raise ConfigError(f'--cfg-options {pair}: {error}') from None
    return options


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Set the values of dotted keys (`a.b`, `pipeline.0.size`) in place.

    Raises:
        ConfigError: a key leads through something that is neither dict nor list.
    """
    # `_delete_` empties its dict before the other options fill it.
    for key in sorted(options, key=lambda key: not key.endswith('_delete_')):
        first, *rest = key.split('.')
        config[first] = _changed(config.get(first), rest, options[key], first)


def _changed(node: Any, keys: list[str], value: Any, path: str) -> Any:
    """A copy of `node` in which the entry at `keys` is `value`."""
    if not keys:
        return merged(value, node, path)
    first, *rest = keys
    if isinstance(node, list | tuple):
        index = _index(first, node, path)
        items = list(node)
        items[index] = _changed(items[index], rest, value, f'{path}.{first}')
        return type(node)(items)
    if node is not None and not isinstance(node, Mapping):
        raise ConfigError(
            f'{path} is {node!r}, which has no {".".join(keys)}; give all of it: {path}=dict(...)'
        )
    changed = ConfigDict(node or {})
    if first == '_delete_':
        return ConfigDict() if value else changed
    changed[first] = _changed(changed.get(first), rest, value, f'{path}.{first}')
    return changed


def _index(key: str, items: Sequence[Any], path: str) -> int:
    if not items:
        raise ConfigError(f'{path} is an empty list, which has no {path}.{key}')
    if not key.isdigit() or int(key) >= len(items):
        raise ConfigError(
            f'{path} is a list: {path}.{key} must be {path}.N with N in 0..{len(items) - 1}'
        )
    return int(key)
