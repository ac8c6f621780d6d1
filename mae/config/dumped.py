"""Reads the config that a run has left beside its scalars: as data, nothing in it is run."""

import ast
from pathlib import Path
from typing import Any

from mae.utils.errors import ConfigError


def read_dumped(path: Path) -> dict[str, Any]:
    """The keys of a config that mmengine has written out: literals and `dict(...)`.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'), str(path))
        found = {}
        for node in tree.body:
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                raise ValueError(f'line {node.lineno} is no assignment')
            found[node.targets[0].id] = _value(node.value)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f'{path}: no config as a run leaves it: {error}') from error
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or node.args:
            raise ValueError(f'line {node.lineno} calls something')
        return {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): _value(value) for key, value in pairs if key is not None}
    return ast.literal_eval(node)
