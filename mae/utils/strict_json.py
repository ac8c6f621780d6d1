"""JSON that every reader takes (RFC 8259): numbers it has no sign for are words.

Python writes NaN and the infinities bare, which `jq`, browsers and most languages refuse. They
become the strings "NaN", "Infinity" and "-Infinity", as in protobuf's JSON; Python's `float` and
JavaScript's `Number` read these back.
"""

import json
import math
from typing import Any

_WORDS = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}


def dumps(value: Any, **options: Any) -> str:
    """`json.dumps`, with words for what is not finite.

    Args:
        options: further keywords of `json.dumps`, such as `indent`.
    """
    return json.dumps(finite_or_word(value), allow_nan=False, **options)


def loads_numbers(text: str | bytes) -> Any:
    """`json.loads` of a file of numbers: the words are numbers again.

    Not for text in which a class or a file may be called "NaN".

    Raises:
        ValueError: it is not JSON.
    """
    return _numbers(json.loads(text))


def finite_or_word(value: Any) -> Any:
    """A copy in which NaN and infinities are words, in dicts, lists and arrays too."""
    if isinstance(value, dict):
        return {key: finite_or_word(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_word(item) for item in value]
    if hasattr(value, 'tolist'):  # of numpy or torch
        return finite_or_word(value.tolist())
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return 'NaN' if math.isnan(value) else 'Infinity' if value > 0 else '-Infinity'


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return _WORDS.get(value, value) if isinstance(value, str) else value
