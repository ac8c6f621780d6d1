"""The pages of the reference: one for each package of `mae`, with all that its modules define.

A class that hands further keywords to the class it inherits from is shown with that one's options.
"""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import mae

# Nobody imports from these: command lines, and what the tools of protocols and benchmarks run.
LEFT_OUT = ('mae.__main__', 'mae.commands', 'mae.protocol', 'mae.benchmark')
_ARGS = re.compile(r'^Args:\n((?: +.*\n| *\n)*)', re.MULTILINE)
_OPTION = re.compile(r'^\s{4}(\w+):', re.MULTILINE)
# Signs that mean something in reStructuredText, and nothing in our docstrings.
# `N.` alone would begin a list.
_MARKUP = re.compile(r'[*|]|(?<=\w)_(?!\w)|(?<=: [A-Za-z])\.(?!\S)')


def packages() -> dict[str, list[str]]:
    """Names of the modules by the package they lie in, packages without modules left out."""
    found: dict[str, list[str]] = {'mae': []}
    for module in pkgutil.walk_packages(mae.__path__, 'mae.'):
        if module.name.startswith(LEFT_OUT):
            continue
        if module.ispkg:
            found[module.name] = []
        else:
            found[module.name.rpartition('.')[0]].append(module.name)
    return found


def write(folder: Path) -> None:
    """Write the pages, those that have changed; one whose package is gone disappears."""
    names = packages()
    entries = '\n'.join(f'   {name}' for name in names)
    pages = {'index': f'{_title("Reference")}\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n'}
    for package, modules in names.items():
        parts = [_title(package), f'.. automodule:: {package}\n   :no-members:\n']
        for module in modules:
            parts += [_title(module.rpartition('.')[2], '-'), f'.. automodule:: {module}\n']
        pages[package] = '\n'.join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('*.rst'):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f'{name}.rst'
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def _title(text: str, line: str = '=') -> str:
    return f'{text}\n{line * len(text)}\n'


def prepare_docstring(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Add the options that a class takes by way of its parents, and escape what is no markup."""
    if what == 'class' and value.__module__.startswith('mae.'):
        found = [line for _, args in inherited_options(value) for line in args]
        lines += ['', 'Keyword Args:', *found, ''] if found else []
    lines[:] = [line if line.lstrip().startswith('>>>') else _escaped(line) for line in lines]


def _escaped(line: str) -> str:
    """Outside of backticks."""
    parts = line.split('`')
    parts[::2] = [_MARKUP.sub(r'\\\g<0>', part) for part in parts[::2]]
    parts[2::2] = [f'\\ {part}' if part[:1].isalnum() else part for part in parts[2::2]]
    return '`'.join(parts)


def inherited_options(kind: type) -> Iterator[tuple[str, list[str]]]:
    """Of each class from which a class takes options, its name and the lines on these options."""
    own = _args_of(kind)
    named = set(_OPTION.findall('\n'.join(own)))
    for below, parent in zip(kind.__mro__, kind.__mro__[1:], strict=False):
        if not (_hands_on(below) and parent.__module__.startswith('mae.')):
            return
        args = _args_of(parent)
        kept = [part for part in _by_option(args) if part[0].split(':')[0].strip() not in named]
        named |= set(_OPTION.findall('\n'.join(args)))
        if kept:
            yield parent.__name__, [line for part in kept for line in part]


def _hands_on(kind: type) -> bool:
    """Whether a class has `**options`, or no arguments of its own."""
    own = vars(kind).get('__init__')
    if own is None:
        return True
    parameters = inspect.signature(own).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _args_of(kind: type) -> list[str]:
    """The lines below `Args:` of a class's own docstring, indented by four."""
    text = vars(kind).get('__doc__')
    found = _ARGS.search(f'{inspect.cleandoc(text)}\n') if isinstance(text, str) else None
    return [line for line in found[1].splitlines() if line.strip()] if found else []


def _by_option(lines: list[str]) -> list[list[str]]:
    """The lines of each option."""
    parts: list[list[str]] = []
    for line in lines:
        if _OPTION.match(line) or not parts:
            parts.append([])
        parts[-1].append(line)
    return parts


def all_classes() -> Iterator[type]:
    """The classes that the pages show."""
    for modules in packages().values():
        for name in modules:
            for value in vars(import_module(name)).values():
                if inspect.isclass(value) and value.__module__ == name:
                    yield value
