"""What a recipe of another home comes to here, and the rows of the tables between the two."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mae.utils.errors import ConfigError

RecipeJob = Literal['pretrain', 'ft', 'linear']

# Of a row without a value of its own; None is one.
UNSTATED = object()
_LONGEST = 60


@dataclass(frozen=True)
class Counterpart:
    """A key or flag of another home, and what becomes of it here.

    Attributes:
        old: dotted key, or flag.
        new: dotted key here; '' if there is none.
        default: its value there where it is not stated; `UNSTATED`: then it is not carried over.
        as_new: from their value to ours.
        why: what stands in its place; of a row with a `new`, how the value changes.
        is_reported: whether a value that is stated is named as not carried over.
    """

    old: str
    new: str = ''
    default: Any = UNSTATED
    as_new: Callable[[Any], Any] | None = None
    why: str = ''
    is_reported: bool = False


@dataclass
class ImportedRecipe:
    """A training, in the keys of this toolbox.

    Attributes:
        origin: where it is from, for the docstring of the config.
        job: as the names of configs have it; 'pretrain' where these have none.
        values: by dotted key.
        left_out: what could not be carried over, a line each.
    """

    origin: str
    job: RecipeJob = 'pretrain'
    values: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, key: str, value: Any, why: str = 'has no counterpart here') -> None:
        """Note a value that is not carried over."""
        shown = repr(value)
        if len(shown) > _LONGEST:
            shown = f'{shown[: _LONGEST - 3]}...'
        self.left_out.append(f'{key}={shown}: {why}')

    def apply(self, row: Counterpart, value: Any) -> None:
        """Carry the value of a row over, or note that it is not."""
        if value is UNSTATED:
            value = row.default
            if value is UNSTATED or not row.new:
                return
        if row.new:
            self.values[row.new] = row.as_new(value) if row.as_new else value
        elif row.is_reported and value:
            self.leave_out(row.old, value, row.why)

    def set_rate(self, lr: float, global_batch_size: int) -> None:
        """State the base learning rate that comes to `lr` at this batch.

        Raises:
            ConfigError: the batch is less than an image, or the rate no number above 0.
        """
        if global_batch_size < 1:
            raise ConfigError(
                f'{self.origin}: a global batch of {global_batch_size}; batch, accumulation and '
                'devices must be at least 1'
            )
        if not (math.isfinite(lr) and lr > 0):
            raise ConfigError(f'{self.origin}: a learning rate of {lr}; it must be above 0')
        self.values['global_batch_size'] = global_batch_size
        self.values['base_lr'] = float(f'{lr * 256 / global_batch_size:.10g}')


class Unread:
    """What of a config has not been read yet: each value is taken once, the rest is named."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._root, self._whole = _copied(config), _copied(config)

    def take(self, key: str, default: Any = UNSTATED) -> Any:
        """Remove the value of a dotted key and return it."""
        *above, last = key.split('.')
        node: Any = self._root
        for word in above:
            node = node.get(word) if isinstance(node, dict) else None
        return node.pop(last, default) if isinstance(node, dict) else default

    def look(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, which stays to be read."""
        node: Any = self._root
        for word in key.split('.'):
            node = node.get(word, default) if isinstance(node, dict) else default
        return node

    def rest(self) -> Iterator[tuple[str, Any]]:
        """What has not been taken, by dotted key; a section of which nothing was, as a whole."""
        for key, value in self._root.items():
            is_untouched = value == self._whole.get(key)
            yield from ((key, value),) if is_untouched else _flat({key: value}, '')


def type_of(node: Any) -> str:
    """The `type` of a dict, without the library in front; '' if there is none."""
    name = node.get('type', '') if isinstance(node, Mapping) else ''
    return str(name if isinstance(name, str) else getattr(name, '__name__', name)).split('.')[-1]


def dicts_of(node: Any) -> list[dict[str, Any]]:
    """A list of dicts, for which one dict may stand, and None for none.

    Raises:
        TypeError: it is something else.
    """
    found = [node] if isinstance(node, Mapping) else node or []
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        raise TypeError(f'{node!r} is no list of dicts')
    return [dict(one) for one in found]


def _copied(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _flat(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        here = f'{place}.{key}' if place else str(key)
        if isinstance(value, dict) and value:
            yield from _flat(value, here)
        elif value not in (None, {}, []):
            yield here, value
