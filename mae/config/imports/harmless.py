"""Refuses a config of strangers that does more than state values, before it is run.

mmengine runs a config file as Python. Of a file that a person did not write, only what configs are
made of is run: assignments, arithmetic, comprehensions, and calls of a few harmless functions.
"""

import ast
import re
from collections.abc import Iterator

from mae.config.source import ConfigSource
from mae.utils.errors import ConfigError

_FUNCTIONS = {'dict', 'list', 'tuple', 'set', 'range', 'len', 'round', 'int', 'float', 'str'}
_FUNCTIONS |= {'bool', 'min', 'max', 'sum', 'abs', 'sorted', 'zip', 'enumerate'}
_METHODS = {'append', 'extend', 'insert', 'copy', 'update', 'get', 'pop', 'items', 'keys', 'values'}
_FORBIDDEN = (
    *(ast.Import, ast.ImportFrom, ast.With, ast.AsyncWith, ast.While, ast.Try, ast.Raise),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Await, ast.Yield),
    *(ast.YieldFrom, ast.Global, ast.Nonlocal, ast.Delete, ast.NamedExpr),
)
# mmengine puts the text of an environment variable, or of its default, into the file.
_FROM_ENVIRONMENT = re.compile(r'\{\{\s*[\'"]?\s*\$')
_CURE = 'write the values out, or import the config that a run of it left in its work dir'


def check_harmless(source: ConfigSource) -> None:
    """Look at a config file and those it inherits from.

    Raises:
        ConfigError: names file and line of what is not run.
    """
    for file in source.files():
        if file.path.suffix != '.py':
            continue
        text = file.path.read_text(encoding='utf-8')
        if found := _FROM_ENVIRONMENT.search(text):
            line = text[: found.start()].count('\n') + 1
            raise ConfigError(
                f'{file.path}:{line}: `{{{{$...}}}}` is not run in an import; {_CURE}'
            )
        tree = ast.parse(text, str(file.path))
        for line, what in _suspects(tree):
            raise ConfigError(f'{file.path}:{line}: {what} is not run in an import; {_CURE}')


def _suspects(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of whatever could do more than state values."""
    assigned = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, _FORBIDDEN):
            yield node.lineno, f'`{type(node).__name__.lower()}`'
        elif isinstance(node, ast.Attribute) and node.attr.startswith('_'):
            yield node.lineno, f'`.{node.attr}`'
        elif isinstance(node, ast.Name) and node.id.startswith('__'):
            yield node.lineno, f'`{node.id}`'
        elif isinstance(node, ast.Call) and not _may_be_called(node.func, assigned):
            yield node.lineno, f'`{ast.unparse(node.func)}()`'


def _may_be_called(function: ast.expr, assigned: set[str]) -> bool:
    """Whether it is one of the harmless functions, under its own name."""
    if isinstance(function, ast.Attribute):
        return function.attr in _METHODS
    return isinstance(function, ast.Name) and function.id in _FUNCTIONS - assigned
