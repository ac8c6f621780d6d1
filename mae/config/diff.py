"""Values in which two configs differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Of a key that one of the two configs has not; None is a value.
ABSENT = '(absent)'


@dataclass(frozen=True)
class Difference:
    """One key in which two configs differ: its values, or `ABSENT`."""

    key: str
    first: Any
    second: Any


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """The keys that differ, dotted and in the order of the first config.

    Lists are compared element by element where they have the same length, else as a whole; so are
    dicts of another `type`, whose keys mean other things.
    """
    return list(_compare('', first, second))


def _compare(key: str, a: Any, b: Any) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.get('type') == b.get('type'):
        for name in dict.fromkeys([*a, *b]):
            below = f'{key}.{name}' if key else str(name)
            yield from _compare(below, a.get(name, ABSENT), b.get(name, ABSENT))
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for index, pair in enumerate(zip(a, b, strict=True)):
            yield from _compare(f'{key}.{index}', *pair)
    elif a != b:
        yield Difference(key, a, b)
