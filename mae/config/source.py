"""What a config file shows without being run: its bases, and which of its variables are read.

A variable that is no key of a config is a helper if the file or one that inherits from it reads it;
otherwise it is a misspelt key.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.fileio import load

from mae.config.files import find_base
from mae.config.schema import KEYS
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean, is_typo
from mae.utils.text import one_line

_BASE = '_base_'
# What is assigned within these is no variable of the file.
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


@dataclass
class ConfigSource:
    """A config file.

    Attributes:
        path: where it lies.
        bases: what it inherits from.
        assigned: line of the first assignment to each variable.
        defined: functions, classes and imported names.
        read: variables that are read after they have been assigned.
        inherited: variables of the bases that are read.
        is_pure: whether it is what mmengine calls pure Python, where names are imported.
    """

    path: Path
    bases: list['ConfigSource'] = field(default_factory=list)
    assigned: dict[str, int] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    inherited: set[str] = field(default_factory=set)
    is_pure: bool = False

    def files(self) -> Iterator['ConfigSource']:
        """This one and all it inherits from."""
        yield self
        for base in self.bases:
            yield from base.files()


def read_source(path: Path, heirs: Sequence[Path] = (), *, is_trusted: bool = True) -> ConfigSource:
    """A file and its bases, which must be there.

    Args:
        path: a file in one of mmengine's formats: Python, JSON or YAML.
        heirs: paths of the files that inherit from it, the nearest last.
        is_trusted: False refuses YAML and JSON, as a YAML file can run code where it is read.

    Raises:
        ConfigError: names the file, and the line that is wrong in it.
    """
    if path in heirs:
        raise ConfigError(f'{heirs[-1]}: {_BASE} leads back to {path}, which inherits from it')
    source = ConfigSource(path)
    if path.suffix == '.py':
        tree = _parse(path)
        bases = [*_bases(tree, path), *_imported_bases(tree, path)]
        source.is_pure = _is_pure(tree)
        _Variables(source).visit(tree)
    elif is_trusted:
        bases = [*_bases_of_data(path)]
    else:
        raise ConfigError(f'{path} is not read in an import; its bases must be Python files')
    source.bases = [read_source(base, [*heirs, path], is_trusted=is_trusted) for base in bases]
    return source


class _Variables(ast.NodeVisitor):
    """Notes what a file assigns and reads; a function may read what is assigned below it."""

    def __init__(self, source: ConfigSource) -> None:
        self.source = source
        self._local: list[set[str]] = []  # names of the functions and comprehensions around

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.source.defined.add(node.name)
        elif isinstance(node, ast.alias):
            self.source.defined.add((node.asname or node.name).partition('.')[0])
        elif isinstance(node, ast.Name):
            self._note(node)
        elif isinstance(node, ast.Attribute) and _is_base(node.value):
            self.source.inherited.add(node.attr)
        elif isinstance(node, ast.Subscript) and _is_base(node.value):
            self.source.inherited.add(str(getattr(node.slice, 'value', '')))
        if isinstance(node, _SCOPES):
            self._local.append(_local_names(node))
            self.generic_visit(node)
            self._local.pop()
        elif isinstance(node, ast.Assign):  # the value first, as it is evaluated
            for part in (node.value, *node.targets):
                self.visit(part)
        else:
            self.generic_visit(node)

    def _note(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if any(node.id in names for names in self._local):
                return
            if self._local or node.id in self.source.assigned:
                self.source.read.add(node.id)
            if self.source.is_pure:  # reads the variables of its bases by their names
                self.source.inherited.add(node.id)
        elif isinstance(node.ctx, ast.Del):
            self.source.read.add(node.id)
        elif not self._local:
            self.source.assigned.setdefault(node.id, node.lineno)


def _local_names(scope: ast.AST) -> set[str]:
    """What a function or a comprehension assigns, its arguments among it."""
    names = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def _is_pure(tree: ast.Module) -> bool:
    """Whether a file is pure Python: mmengine's test misjudges the standard library in a venv."""
    if any(isinstance(node, ast.Assign) and _is_base(node.targets[0]) for node in tree.body):
        return False
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module if node.module and not node.level else '.']
        if isinstance(node, ast.With) or any(
            name.partition('.')[0] not in sys.stdlib_module_names for name in names
        ):
            return True
    return False


def _parse(path: Path) -> ast.Module:
    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path} is not a Python file: {error}; save it as UTF-8') from error
    if text.startswith('\ufeff'):  # which mmengine does not read
        raise ConfigError(f'{path}: begins with a byte-order mark; save it as UTF-8 without one')
    try:
        return ast.parse(text, str(path))
    except SyntaxError as error:
        raise ConfigError(f'{path}:{error.lineno}: {error.msg}') from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, or endless nesting
        raise ConfigError(f'{path} is not a Python file: {error}') from error


def _bases(tree: ast.Module, path: Path) -> Iterator[Path]:
    """The files that `_base_` names."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and _is_base(node.target):
            raise ConfigError(f'{path}:{node.lineno}: {_BASE} takes no annotation')
        if not (isinstance(node, ast.Assign) and _is_base(node.targets[0])):
            continue
        if any(isinstance(part, ast.Name) for part in ast.walk(node.value)):
            raise ConfigError(
                f'{path}:{node.lineno}: {_BASE} is read before the file is run, so that no '
                'variable can stand in it; write the name out'
            )
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue  # computed: mmengine finds them when it runs the file
        try:
            yield from _found(value, path)
        except ConfigError as error:
            raise ConfigError(f'{path}:{node.lineno}: {error}') from None


def _bases_of_data(path: Path) -> Iterator[Path]:
    """The same of a JSON or YAML file."""
    try:
        data = load(str(path))
    except Exception as error:  # each format has its own
        raise ConfigError(f'{path} cannot be read: {one_line(error)}') from error
    if not isinstance(data, dict):
        raise ConfigError(f'{path} holds no keys')
    try:
        yield from _found(data.get(_BASE, []), path)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from None


def _found(value: Any, path: Path) -> Iterator[Path]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{_BASE} must be a name or a list of names, not {value!r}')
    for name in names:
        if (base := find_base(name, path)) is not None:
            yield base


def _imported_bases(tree: ast.Module, path: Path) -> Iterator[Path]:
    """The files that a pure Python config names within `with read_base():`, where they exist."""
    for block in tree.body:
        for node in block.body if isinstance(block, ast.With) else ():
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            folders, below = [str(path.parents[node.level - 1])], node.module.split('.')
            if not node.level:
                spec = find_spec(below.pop(0))
                folders = list(spec.submodule_search_locations or ()) if spec else []
            found = [Path(folder, *below).with_suffix('.py') for folder in folders]
            yield from (file for file in found if file.is_file())


def _is_base(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == _BASE


@dataclass
class Helpers:
    """Top-level variables that are no keys of a config.

    Attributes:
        files: by name, the file that assigns it, where that or one that inherits from it reads it.
        wrong: by name, the error message for each of the others.
    """

    files: dict[str, Path] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def take_from(self, config: dict[str, Any]) -> dict[str, Any]:
        """Remove them from a config that has been evaluated; returns them.

        Raises:
            ConfigError: one that is never read: it is misspelt, or has no effect.
        """
        taken = {}
        for key in [key for key in config if key not in KEYS]:
            if key in self.wrong:
                raise ConfigError(self.wrong[key] + meant_elsewhere(config, key))
            if key in self.files or key.startswith('_'):
                taken[key] = config.pop(key)
        return taken


def find_helpers(source: ConfigSource) -> Helpers:
    """The helper variables of a file and its bases."""
    found = Helpers()
    _collect(source, (), found)
    return found


def _collect(source: ConfigSource, heirs: Sequence[ConfigSource], found: Helpers) -> None:
    for name in source.defined - KEYS:
        found.files.setdefault(name, source.path)
    for name, line in source.assigned.items():
        if name in KEYS or name == _BASE:
            continue
        if name in source.read or any(name in heir.inherited for heir in heirs):
            found.files.setdefault(name, source.path)
        elif problem := _unread(name, source):
            found.wrong.setdefault(name, f'{source.path}:{line}: {problem}')
    for base in source.bases:
        _collect(base, (*heirs, source), found)


def _unread(name: str, source: ConfigSource) -> str:
    """What is wrong with a variable that is never read; empty if nothing is."""
    for base in source.files():
        if base is not source and name in base.assigned:
            return (
                f'{name} has no effect here, as {base.path} has been evaluated before; set the '
                'keys that it goes into'
            )
    if name.startswith('_'):
        return f'unknown key {name}; did you mean _base_?' if is_typo(name, '_base_') else ''
    meant = did_you_mean(name, KEYS)
    return f'unknown key {name}{meant or ", which nothing reads"}'


def meant_elsewhere(config: Any, name: str) -> str:
    """The end of the message for a top-level key that exists deeper in the config; else empty."""
    found = _keys_called(config, name)[:3]
    return f'; did you mean {" or ".join(found)}?' if found else ''


def _keys_called(node: Any, name: str, path: str = '') -> list[str]:
    found: list[str] = []
    is_list = isinstance(node, list | tuple)
    for key, value in enumerate(node) if is_list else node.items():
        here = f'{path}.{key}' if path else str(key)
        if path and key == name:
            found.append(here)
        if isinstance(value, Mapping | list | tuple):
            found += _keys_called(value, name, here)
    return found
