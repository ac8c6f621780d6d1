"""Whether a value from a config can be what an annotation asks for.

Strict about plain values (a word where a number belongs), silent about everything else.
"""

import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from torch import Tensor, nn

_SEQUENCES = ('list', 'tuple', 'Sequence', 'Iterable', 'Collection')


def fits(value: Any, hint: Any) -> bool:
    """Whether `value` may stand where `hint` is annotated; a list may stand for a tuple."""
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


def describe(hint: Any) -> str:
    """The annotation in words for an error message."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe(inner[0])
    if origin in (Union, UnionType):
        return ' or '.join(dict.fromkeys(describe(option) for option in inner))
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
        return f'a list of {describe(inner[0])}'
    return f'({", ".join(describe(element) for element in inner)})'


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
