"""The keywords that a class or function of a config takes, and whether a value fits one.

Strict about plain values (a word where a number belongs), silent about everything else.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from torch import Tensor, nn

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SEQUENCES = ('list', 'tuple', 'Sequence', 'Iterable', 'Collection')


@dataclass
class Arguments:
    """Keywords of a callable.

    Args:
        owners: names of the callables they belong to, and of the bases of a class.
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
        """The keywords of both, if `self` passes those it does not know to `other`."""
        return Arguments(
            (*self.owners, *other.owners),
            self.is_ours or other.is_ours,
            {**other.hints, **self.hints},
            {**other.defaults, **self.defaults},
            self.is_open and other.is_open,
        )

    def fits(self, key: str, value: Any) -> bool:
        """Whether `value` is of a type that `key` takes.

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

    A `**kwargs` that is passed to `super().__init__` is followed up the base classes. Schedulers
    that a config may state in epochs take the arguments of `build_iter_from_epoch` too.
    """
    name = getattr(target, '__name__', str(target))
    bases = target.__mro__[1:-1] if inspect.isclass(target) else ()
    owners = (name, *(base.__name__ for base in bases))
    found = Arguments(owners, getattr(target, '__module__', '').startswith('mae.'))
    if hasattr(target, 'build_iter_from_epoch'):
        found.add(target.build_iter_from_epoch)
    for function in _constructors(target):
        catch_all = found.add(function)
        if catch_all is None:
            return found
        if not _forwards(function, catch_all):
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


def _forwards(function: Callable[..., Any], catch_all: str) -> bool:
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


def fits(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`; a list counts as a tuple."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, inner[0])
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if hint in (None, NoneType):
        return value is None
    if is_typeddict(hint):
        return isinstance(value, Mapping)
    kind = origin or hint
    if inspect.isclass(kind):
        return _fits_class(value, kind, inner)
    return True


def describe_hint(hint: Any) -> str:
    """The annotation in words for an error message."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe_hint(inner[0])
    if origin in (Union, UnionType):
        return ' or '.join(dict.fromkeys(describe_hint(option) for option in inner))
    if origin is Literal:
        return ' or '.join(repr(option) for option in inner)
    if hint in (None, NoneType):
        return 'None'
    kind = origin or hint
    if is_typeddict(hint) or (inspect.isclass(kind) and issubclass(kind, Mapping)):
        return 'a dict'
    name: str = getattr(kind, '__name__', str(kind))
    if name not in _SEQUENCES or not inner:
        return name
    if name != 'tuple' or inner[-1] is ...:
        return f'a list of {describe_hint(inner[0])}'
    return f'({", ".join(describe_hint(element) for element in inner)})'


def _fits_class(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if kind is bool:
        return isinstance(value, bool) or value in (0, 1)
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else (int, float))
        return is_number and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    if kind.__name__ in _SEQUENCES:
        return isinstance(value, list | tuple) and _fit_elements(value, kind, inner)
    if issubclass(kind, Tensor | nn.Module):
        return not isinstance(value, str | int | float)
    return True


def _fit_elements(values: list[Any] | tuple[Any, ...], kind: type, inner: tuple[Any, ...]) -> bool:
    if not inner:
        return True
    if kind is not tuple or inner[-1] is ...:
        return all(fits(value, inner[0]) for value in values)
    return len(values) == len(inner) and all(map(fits, values, inner))
