"""Refuses processes that were started with something else than the first one."""

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import all_gather_object

from mae.utils.errors import ConfigError
from mae.utils.text import first_difference
from mae.utils.versions import code_digest, versions

# Config keys that may differ: each process has its own way to the same folder or file.
_OF_THE_NODE = ('work_dir', 'load_from', 'launcher')
_LONGEST = 80  # characters of a value in the message


def check_started_alike(config: Mapping[str, Any]) -> None:
    """Make sure that all processes have the same code, libraries and config.

    All processes must call it.

    Raises:
        ConfigError: see `check_agreement`.
    """
    check_agreement('code or libraries', {**versions(), 'mae code': code_digest()})
    check_agreement('config values', config_facts(config))


def check_agreement(what: str, facts: Mapping[str, object]) -> None:
    """Make sure that all processes of the run state the same facts.

    All processes must call it.

    Args:
        what: what the facts are about, for the message, such as 'data'.
        facts: plain values by name.

    Raises:
        ConfigError: some process differs from the first; raised in all of them, with the first
            difference.
    """
    own = {name: str(value) for name, value in facts.items()}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
    found = all_gather_object((socket.gethostname(), digest))
    differ = [rank for rank, (_, other) in enumerate(found) if other != found[0][1]]
    if not differ:
        return
    stated = all_gather_object(own)
    here, there = stated[0], stated[differ[0]]
    name = first_difference(here, there)
    first, other = (values.get(name, 'missing')[:_LONGEST] for values in (here, there))
    more = f' and {len(differ) - 1} more' if len(differ) > 1 else ''
    raise ConfigError(
        f'process {differ[0]} ({found[differ[0]][0]}){more} has other {what} than process 0 '
        f'({found[0][0]}): {name} is {other} there, {first} on process 0; start the same on every '
        'node'
    )


def config_facts(config: Mapping[str, Any]) -> dict[str, str]:
    """Values of a config by their whole key, without those that may differ between nodes."""
    shared = {key: value for key, value in config.items() if key not in _OF_THE_NODE}
    return dict(_leaves(shared, ''))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, list | tuple):
        entries = list(enumerate(value))
    else:
        is_plain = value is None or isinstance(value, str | int | float)
        yield key, repr(value) if is_plain else type(value).__name__
        return
    for name, inner in entries:
        yield from _leaves(inner, f'{key}.{name}' if key else str(name))
