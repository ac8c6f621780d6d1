"""The keywords that a class or function of a config understands, with their annotations."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from torch import nn

from mae.config.types import fits

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass
class Arguments:
    """Keywords of a callable.

    Args:
        owners: names of the callables they belong to.
        is_ours: whether this toolbox, whose annotations are checked, defines it.
        hints: annotation of each keyword (`Any` without one).
        defaults: value of each that has one.
        is_open: whether any other keyword is taken as well.
    """

    owners: tuple[str, ...]
    is_ours: bool
    hints: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    is_open: bool = False

    def add(self, function: Callable[..., Any]) -> str | None:
        """Take in the keywords of `function`; returns the name of its `**kwargs`, if any."""
        annotations = _annotations(function)
        catch_all = None
        for name, parameter in _parameters(function).items():
            if parameter.kind is parameter.VAR_KEYWORD:
                catch_all = name
            elif parameter.kind in _NAMED and name not in (*self.hints, 'self', 'cls'):
                self.hints[name] = annotations.get(name, Any)
                if parameter.default is not parameter.empty:
                    self.defaults[name] = parameter.default
        return catch_all

    def joined(self, other: 'Arguments') -> 'Arguments':
        """The keywords of both, where `self` hands those it does not know to `other`."""
        return Arguments(
            (*self.owners, *other.owners),
            self.is_ours or other.is_ours,
            {**other.hints, **self.hints},
            {**other.defaults, **self.defaults},
            self.is_open and other.is_open,
        )

    def fits(self, key: str, value: Any) -> bool:
        """Whether `value` may be given for `key`.

        Libraries often annotate less than they take: of theirs only a word in place of a
        number, or the reverse, counts as wrong.
        """
        if fits(value, self.hints.get(key, Any)) or self.is_ours:
            return fits(value, self.hints.get(key, Any))
        is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        default = self.defaults.get(key)
        is_number = isinstance(value, int | float) and isinstance(default, int | float)
        return not is_plain or is_number or isinstance(value, type(default))


@cache
def arguments_of(target: Callable[..., Any]) -> Arguments:
    """All keywords of a class, a function or a partial of one.

    A `**kwargs` that is handed to `super().__init__` is followed up the base classes. Schedulers
    that a config may give in epochs understand the arguments of `build_iter_from_epoch` too.
    """
    name = getattr(target, '__name__', str(target))
    found = Arguments((name,), getattr(target, '__module__', '').startswith('mae.'))
    if hasattr(target, 'build_iter_from_epoch'):
        found.add(target.build_iter_from_epoch)
    for function in _constructors(target):
        catch_all = found.add(function)
        if catch_all is None:
            return found
        if not _hands_on(function, catch_all):
            found.is_open = True
            return found
    return found


def _constructors(target: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    if not inspect.isclass(target):
        yield target
        return
    for base in target.__mro__[:-1]:
        if base is nn.Module:  # shows **kwargs, but refuses any
            return
        if '__init__' in vars(base):
            yield vars(base)['__init__']


def _hands_on(function: Callable[..., Any], catch_all: str) -> bool:
    """Whether a constructor passes its `**kwargs` to the next."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(
        isinstance(keyword.value, ast.Name) and keyword.value.id == catch_all
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, 'attr', '') == '__init__'
        for keyword in call.keywords
        if keyword.arg is None
    )


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C: anything may go
        return {'kwargs': inspect.Parameter('kwargs', inspect.Parameter.VAR_KEYWORD)}


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # names that only a type checker imports
        return {}
