"""`--cfg-options`: values of a config given on the command line."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from mae.utils.errors import ConfigError


def parse_options(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`['a.b=1', ...]` to `{'a.b': 1, ...}`, in mmengine's notation.

    `1,2`, `[1,2]` and `(1,2)` are lists and a tuple, `true` and `None` what they say; besides, a
    dict may be written as in Python, `{'k': 1}` or `dict(k=1)`, and a word keeps its spaces.

    Raises:
        ConfigError: not KEY=VALUE, or brackets that do not close.
    """
    options = {}
    for pair in pairs or ():
        key, separator, value = pair.partition('=')
        if not separator or not key:
            raise ConfigError(f'--cfg-options takes KEY=VALUE, not {pair!r}')
        options[key] = _parse(value, pair)
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
        if isinstance(value, Mapping) and isinstance(node, Mapping):
            for key in value:
                node = _changed(node, [key], value[key], path)
            return node
        return value
    first, *rest = keys
    if isinstance(node, list | tuple):
        index = _index(first, node, path)
        items = list(node)
        items[index] = _changed(items[index], rest, value, f'{path}.{first}')
        return type(node)(items)
    if node is not None and not isinstance(node, Mapping):
        raise ConfigError(f'{path} is {node!r}, which has no {".".join(keys)}')
    changed = ConfigDict(node or {})
    if first == '_delete_':
        return ConfigDict() if value else changed
    changed[first] = _changed(changed.get(first), rest, value, f'{path}.{first}')
    return changed


def _index(key: str, items: Sequence[Any], path: str) -> int:
    if not key.isdigit() or int(key) >= len(items):
        raise ConfigError(
            f'{path} is a list: {path}.{key} must be {path}.N with N in 0..{len(items) - 1}'
        )
    return int(key)


def _parse(text: str, pair: str) -> Any:
    if '{' in text or 'dict(' in text:  # mmengine would cut a list of dicts at every comma
        try:
            return ast.literal_eval(_Dicts().visit(ast.parse(text.strip(), mode='eval')))
        except (ValueError, SyntaxError, TypeError):
            example = "dict(type='Name', key=1)"
            raise ConfigError(
                f'--cfg-options {pair}: not a Python dict, nor a list of such as {example}'
            ) from None
    if not any(sign in text for sign in ',[]()'):
        return DictAction._parse_int_float_bool(text.strip('\'"'))
    if text.count('(') != text.count(')') or text.count('[') != text.count(']'):
        raise ConfigError(f'--cfg-options {pair}: brackets do not close')
    return DictAction._parse_iterable(text)


class _Dicts(ast.NodeTransformer):
    """Writes `dict(k=1)`, as configs have it, as the display that is a literal."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or node.args:
            return node
        if any(keyword.arg is None for keyword in node.keywords):
            return node
        return ast.Dict(
            [ast.Constant(keyword.arg) for keyword in node.keywords],
            [keyword.value for keyword in node.keywords],
        )
