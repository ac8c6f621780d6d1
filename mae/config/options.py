"""`--cfg-options`: how the command line writes values, and sets them in a config."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from mae.config.nodes import merged
from mae.utils.errors import ConfigError

_QUOTES = '\'"'
_PAIRS = {'[': ']', '(': ')', '{': '}'}
_CURE = 'put quotes around a text that has brackets, quotes or commas of its own'


def parse_options(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`['a.b=1', ...]` to `{'a.b': 1, ...}`; `parse_value` says how a value is written.

    Raises:
        ConfigError: not KEY=VALUE, or a value whose brackets or quotes do not close.
    """
    options = {}
    for pair in pairs or ():
        key, separator, value = pair.partition('=')
        key = key.strip()
        if not separator or not all(key.split('.')):
            raise ConfigError(f'cfg_options takes KEY=VALUE, such as a.b=1, not {pair!r}')
        try:
            options[key] = parse_value(value)
        except ValueError as error:
            raise ConfigError(f'cfg_options {pair}: {error}') from None
    return options


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Set the values of dotted keys (`a.b`, `pipeline.0.size`) in place.

    Raises:
        ConfigError: a key leads through something that is neither dict nor list.
    """
    # `_delete_` empties its dict before the other options fill it.
    for key in sorted(options, key=lambda key: not key.endswith('_delete_')):
        first, *rest = key.split('.')
        config[first] = _changed(config.get(first), rest, options[key], first)


def _changed(node: Any, keys: list[str], value: Any, path: str) -> Any:
    """A copy of `node` in which the entry at `keys` is `value`."""
    if not keys:
        return merged(value, node, path)
    first, *rest = keys
    if isinstance(node, list | tuple):
        index = _index(first, node, path)
        items = list(node)
        items[index] = _changed(items[index], rest, value, f'{path}.{first}')
        return type(node)(items)
    if node is not None and not isinstance(node, Mapping):
        raise ConfigError(
            f'{path} is {node!r}, which has no {".".join(keys)}; give all of it: {path}=dict(...)'
        )
    changed = ConfigDict(node or {})
    if first == '_delete_':
        return ConfigDict() if value else changed
    changed[first] = _changed(changed.get(first), rest, value, f'{path}.{first}')
    return changed


def _index(key: str, items: Sequence[Any], path: str) -> int:
    if not items:
        raise ConfigError(f'{path} is an empty list, which has no {path}.{key}')
    if not key.isdecimal() or int(key) >= len(items):
        raise ConfigError(
            f'{path} is a list: {path}.{key} must be {path}.N with N in 0..{len(items) - 1}'
        )
    return int(key)


def parse_value(text: str) -> Any:
    r"""The value that `text` writes.

    Numbers, `None`, `true` and `False` are those values. In quotes everything is a text, in which a
    backslash is literal unless a quote or a backslash follows.
    `[1,2]`, and `1,2` too, is a list, `(1,2)` a tuple, `{'k': 1}` or `dict(k=1)` a dict. Any other
    word is a text, its blanks included; within a dict it must be in quotes.

    Raises:
        ValueError: brackets or quotes that do not close, or text where there can be none.
    """
    return _Reader(text).whole()


class _Reader:
    """A recursive-descent parser; `at` is its position in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Any:
        """A value, or several between commas, which are a list."""
        if not self.text.strip():
            return self.text
        values = [self._value(',')]
        if not self._rest():
            is_word = values[0] == self.text.strip()  # whose blanks at the ends stay
            return self.text if is_word else values[0]
        while self._take(',') and self._rest():
            values.append(self._value(','))
        return values

    def _value(self, ends: str, *, words: bool = True) -> Any:
        """The value up to one of `ends`, or up to the end of the text."""
        self._skip_blanks()
        first = self._rest()[:1]
        if first in _QUOTES and first:
            value: Any = self._quoted()
        elif first in _PAIRS:
            self.at += 1
            value = self._pairs('}', ':') if first == '{' else self._sequence(first, words)
        elif self._rest().startswith('dict('):
            self.at += len('dict(')
            value = self._pairs(')', '=')
        else:
            return self._word(ends, words)
        self._skip_blanks()
        if self._rest() and self._rest()[0] not in ends:
            raise ValueError(f'{self._rest()!r} follows where a value has ended; {_CURE}')
        return value

    def _quoted(self) -> str:
        quote, start = self.text[self.at], self.at
        letters = []
        self.at += 1
        while (letter := self._rest()[:1]) and letter != quote:
            if letter == '\\' and self._rest()[1:2] in ('\\', *_QUOTES):
                self.at += 1
            letters.append(self.text[self.at])
            self.at += 1
        if not letter:
            raise ValueError(f'the quote before {self.text[start + 1 :]!r} does not close')
        self.at += 1
        return ''.join(letters)

    def _sequence(self, bracket: str, words: bool) -> list[Any] | tuple[Any, ...]:
        end, values = _PAIRS[bracket], []
        while not self._take(end):
            values.append(self._value(f',{end}', words=words))
            self._separate(end)
        return tuple(values) if bracket == '(' else values

    def _pairs(self, end: str, sign: str) -> dict[Any, Any]:
        """What follows `{` or `dict(`."""
        found = {}
        while not self._take(end):
            key = self._value(f':,{end}', words=False) if sign == ':' else self._name()
            if (key == '' and sign == '=') or not self._take(sign):
                raise ValueError(f'a dict is written as {{"key": 1}} or dict(key=1); {_CURE}')
            if not isinstance(key, str | int | float):
                raise ValueError(f'{key!r} cannot be the key of a dict')
            found[key] = self._value(f',{end}', words=False)
            self._separate(end)
        return found

    def _name(self) -> str:
        self._skip_blanks()
        start = self.at
        while self._rest()[:1].isidentifier() or self._rest()[:1].isdigit():
            self.at += 1
        return self.text[start : self.at]

    def _word(self, ends: str, words: bool) -> Any:
        """A number, a constant or a text; brackets in it must close, and hide commas."""
        start, open_brackets = self.at, ''
        while letter := self._rest()[:1]:
            if letter in ends and not open_brackets:
                break
            if letter in _PAIRS:
                open_brackets += _PAIRS[letter]
            elif letter in _PAIRS.values():
                if not open_brackets.endswith(letter):
                    break
                open_brackets = open_brackets[:-1]
            self.at += 1
        word = self.text[start : self.at].strip()
        if open_brackets or self._rest()[:1] not in ends:
            raise ValueError(f'brackets do not close; {_CURE}')
        if not word:
            raise ValueError('a value is missing')
        value = _scalar(word)
        if isinstance(value, str) and not words:
            raise ValueError(f'{word} must stand in quotes, as texts in a dict do')
        if isinstance(value, str) and ends != ',' and any(sign in word for sign in '[({'):
            raise ValueError(f'{word} in a list needs quotes: {_CURE}')
        return value

    def _separate(self, end: str) -> None:
        """After an element: a comma, or the end is next."""
        if not self._take(',') and self._rest()[:1] != end:
            raise ValueError(f'brackets do not close: {end} is missing')

    def _take(self, sign: str) -> bool:
        self._skip_blanks()
        found = self._rest().startswith(sign)
        self.at += len(sign) * found
        return found

    def _skip_blanks(self) -> None:
        self.at = len(self.text) - len(self._rest().lstrip())

    def _rest(self) -> str:
        return self.text[self.at :]


def _scalar(word: str) -> Any:
    """A decimal number as Python writes them, a constant, or the word itself (007, 2024_01)."""
    if word.lower() in ('true', 'false'):
        return word.lower() == 'true'
    if word == 'None':
        return None
    if word.lower() in ('inf', '+inf', '-inf', 'nan'):
        return float(word)
    if word.lower().strip('+-.e0123456789'):
        return word
    try:
        value = ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
    return value if type(value) in (int, float) else word
