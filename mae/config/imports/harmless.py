"""Refuses a config of strangers that does more than state values, before it is run.

mmengine runs a config file as Python. Of a file that a person did not write, only what configs are
made of is run: assignments, arithmetic, comprehensions, and calls of a few harmless functions.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

from mae.config.source import ConfigSource
from mae.utils.errors import ConfigError

_STATED = (
    *(ast.Module, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.If, ast.For, ast.Pass),
    *(ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant, ast.JoinedStr, ast.FormattedValue),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred, ast.Call, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.expr_context),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_FUNCTIONS = {'dict', 'list', 'tuple', 'set', 'range', 'len', 'round', 'int', 'float', 'str'}
_FUNCTIONS |= {'bool', 'min', 'max', 'sum', 'abs', 'sorted', 'zip', 'enumerate'}
_METHODS = {'append', 'extend', 'insert', 'copy', 'update', 'get', 'pop', 'items', 'keys', 'values'}
# Others may not even be named: `sorted(lines, key=eval)` calls one.
_NOT_NAMED = set(vars(builtins)) - _FUNCTIONS
_BASE = '_base_'
# mmengine puts the text of an environment variable, of its default, or of a path into the file.
_PUT_IN = re.compile(r'\{\{\s*(?:[\'"]?\s*\$|file\w+\s*\}\})')
# mmpretrain has its recipes twice, as `mae_vit_base_p16_8xb512_amp_coslr_300e_in1k.py` and, in the
# old style, with dashes within the parts of the name.
_NEW_NAME = re.compile(r'(?:(mae)_)?(\w+?)_(\d+xb\d+_\w+)_(in\d+k)')
_CURE = 'write the values out, or import the config that a run of it left in its work dir'


def check_harmless(source: ConfigSource) -> None:
    """Look at a config file and those it inherits from, all of them Python.

    Raises:
        ConfigError: names file and line of what is not run.
    """
    for file in source.files():
        text = file.path.read_text(encoding='utf-8')
        tree = ast.parse(text, str(file.path))
        _refuse_new_style(file.path, tree)
        if found := _PUT_IN.search(text):
            line = text[: found.start()].count('\n') + 1
            what = '{{$...}}' if found[0].endswith('$') else found[0]
            raise ConfigError(f'{file.path}:{line}: `{what}` is not run in an import; {_CURE}')
        for line, what in _suspects(tree):
            raise ConfigError(f'{file.path}:{line}: {what} is not run in an import; {_CURE}')


def _refuse_new_style(path: Path, tree: ast.Module) -> None:
    """Refuse a config that imports its bases; the error names the recipe in the old style."""
    for node in tree.body:
        if not isinstance(node, ast.With | ast.If):
            continue
        if any(isinstance(step, ast.ImportFrom) for step in node.body):
            old = old_style_name(path.stem)
            named = f', {old}' if old else ' that it stands beside'
            raise ConfigError(
                f'{path}:{node.lineno}: a config in the new style, whose bases are imported '
                f'(`read_base`), is not run in an import; give the one in the old style{named}'
            )


def old_style_name(stem: str) -> str:
    """Name of mmpretrain's file in the old style; '' if the stem is not that of a recipe."""
    known = _NEW_NAME.fullmatch(stem)
    parts = known.groups() if known else ()
    name = '_'.join(part.replace('_', '-') for part in parts if part)
    return f'{name}.py' if name else ''


def _suspects(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of whatever could do more than state values."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    stated = [node for node in tree.body if isinstance(node, ast.Assign)]
    heads = {id(node.targets[0]) for node in stated}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        line = getattr(node, 'lineno', 0)
        if not isinstance(node, _STATED):
            yield line, f'`{type(node).__name__.lower()}`'
        elif isinstance(node, ast.Attribute):
            if node.attr.startswith('_') or not (id(node) in called or _is_of_base(node)):
                yield line, f'`.{node.attr}`'
        elif isinstance(node, ast.Name):
            is_loaded = isinstance(node.ctx, ast.Load)
            if node.id.startswith('__') or (is_loaded and node.id in _NOT_NAMED):
                yield line, f'`{node.id}`'
            elif node.id == _BASE and not (is_loaded or id(node) in heads):
                yield line, f'`{_BASE}` that is assigned in passing'
        elif isinstance(node, ast.Call) and not _may_be_called(node.func, assigned):
            yield line, f'`{ast.unparse(node.func)}()`'
        elif isinstance(node, ast.Assign) and id(node.targets[0]) in heads and _is_odd_base(node):
            yield line, f'`{ast.unparse(node)}`'


def _may_be_called(function: ast.expr, assigned: set[str]) -> bool:
    """Whether it is one of the harmless functions, under its own name."""
    if isinstance(function, ast.Attribute):
        return function.attr in _METHODS
    return isinstance(function, ast.Name) and function.id in _FUNCTIONS - assigned


def _is_of_base(node: ast.expr) -> bool:
    """Whether it is a value of the bases, `_base_.model.head`: attributes of others lead far."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id == _BASE


def _is_odd_base(node: ast.Assign) -> bool:
    """Whether it names bases that have not been looked at: computed, or of another library."""
    target = node.targets[0]
    if not (isinstance(target, ast.Name) and target.id == _BASE):
        return False
    values = node.value.elts if isinstance(node.value, ast.List) else [node.value]
    texts = [value.value for value in values if isinstance(value, ast.Constant)]
    return len(texts) < len(values) or any(
        '::' in str(text) and not str(text).startswith('mae::') for text in texts
    )
