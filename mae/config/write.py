"""Writes config files that inherit another: only what differs, each value perhaps with a reason."""

import keyword
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mae.utils.errors import ConfigError
from mae.utils.files import whole_file

_WIDTH = 100
_INDENT = '    '


class Variable(str):
    """A value that the file states as one of its own variables, such as `val_dataloader`."""


def write_config(
    path: Path,
    about: str,
    base: str,
    values: Mapping[str, Any],
    reasons: Mapping[str, str] | None = None,
) -> None:
    """Write a config file, whole or not at all.

    Args:
        path: of the file; a missing folder is created.
        about: its docstring.
        base: what it inherits: a path, or the name of a shipped config.
        values: by dotted key.
        reasons: by dotted key of a value, or of a dict that holds some, the comment beside it.

    Raises:
        ConfigError: a key leads into a list, or is no name that a file can assign.
        OSError: the file cannot be written.
    """
    text = config_text(about, base, values, reasons or {})
    with whole_file(path) as file:
        file.write(text.encode())


def config_text(
    about: str, base: str, values: Mapping[str, Any], reasons: Mapping[str, str]
) -> str:
    """The text of a config file; for the arguments and errors see `write_config`."""
    quoted = about.replace('\\', '\\\\').replace('"""', r'\"\"\"')
    lines = [f'"""{quoted}"""', '', f'_base_ = {base!r}', '']
    for key, value in _nested(values).items():
        lines += _lines(key, key, value, reasons, '', '')
    return '\n'.join(lines).rstrip('\n') + '\n'


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts in dicts, as the file states them."""
    root: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split('.')
        for word in (*above, last):
            if not word.isidentifier() or keyword.iskeyword(word):
                raise ConfigError(
                    f'{key}: a config file cannot say {word!r} alone; a list is stated as a whole, '
                    'with all its elements'
                )
        node = root
        for word in above:
            node = node.setdefault(word, {})
            if not isinstance(node, dict):
                raise ConfigError(f'{key}: {word} has a value already, {node!r}')
        node[last] = dict(value) if isinstance(value, Mapping) else value
    return root


def _lines(
    key: str, name: str, value: Any, reasons: Mapping[str, str], indent: str, end: str
) -> Iterator[str]:
    """The lines that assign a value, its reason at the end of the first or on a line above."""
    equals = '=' if indent else ' = '
    inside = [reasons[other] for other in reasons if other.startswith(f'{key}.')]
    is_chain = len(inside) == 1 and key not in reasons and _is_chain(value)
    reason = inside[0] if is_chain else reasons.get(key, '')
    reason = f'# {reason}' if reason else ''
    line = f'{indent}{name}{equals}{_literal(value)}{end}'
    is_dict = isinstance(value, Mapping) and bool(value)
    if is_dict and (len(line) > _WIDTH or (inside and not is_chain)):
        said = '' if is_chain else reason  # else at the line of the single value
        yield from _with_reason(f'{indent}{name}{equals}dict(', said, indent)
        for word, inner in value.items():
            yield from _lines(f'{key}.{word}', word, inner, reasons, indent + _INDENT, ',')
        yield f'{indent}){end}'
    elif isinstance(value, list) and value and len(line) > _WIDTH:
        yield from _with_reason(f'{indent}{name}{equals}[', reason, indent)
        yield from (f'{indent}{_INDENT}{_literal(item)},' for item in value)
        yield f'{indent}]{end}'
    else:
        yield from _with_reason(line, reason, indent)


def _is_chain(value: Any) -> bool:
    """Whether dicts within dicts lead to a single value, which a reason then belongs to."""
    while isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()
    return not isinstance(value, Mapping)


def _with_reason(line: str, reason: str, indent: str) -> Iterator[str]:
    if reason and len(line) + 2 + len(reason) > _WIDTH:
        yield f'{indent}{reason}'
        yield line
    else:
        yield f'{line}  {reason}' if reason else line


def _literal(value: Any) -> str:
    """The value as a config writes it: dicts as calls of `dict`."""
    if isinstance(value, Variable):
        return str(value)
    if isinstance(value, Mapping):
        if all(isinstance(name, str) and name.isidentifier() for name in value):
            return f'dict({", ".join(f"{name}={_literal(item)}" for name, item in value.items())})'
        items = ', '.join(f'{name!r}: {_literal(item)}' for name, item in value.items())
        return f'{{{items}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_literal, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_literal, value))}{"," * (len(value) == 1)})'
    is_word = isinstance(value, float) and not math.isfinite(value)  # `inf` is no Python
    return f"float('{value}')" if is_word else repr(value)
