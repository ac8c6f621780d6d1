"""Variables that a config file keeps for itself, told from misspelt keys by who reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mae.config.schema import KEYS
from mae.config.source import ConfigSource
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean, is_slip


@dataclass
class Helpers:
    """Top-level variables that are no keys of a config.

    Attributes:
        files: where each stands that its file, or one that inherits from it, reads.
        wrong: what is to be said of each other one.
    """

    files: dict[str, Path] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def take_from(self, config: dict[str, Any]) -> dict[str, Any]:
        """Remove them from a config that has been evaluated; returns them.

        Raises:
            ConfigError: one that nobody reads: it is misspelt, or has no effect.
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
        if name in KEYS or name == '_base_':
            continue
        if name in source.read or any(name in heir.inherited for heir in heirs):
            found.files.setdefault(name, source.path)
        elif said := _unread(name, source):
            found.wrong.setdefault(name, f'{source.path}:{line}: {said}')
    for base in source.bases:
        _collect(base, (*heirs, source), found)


def _unread(name: str, source: ConfigSource) -> str:
    """What is wrong with a variable that nobody reads; empty if nothing is."""
    for base in source.files():
        if base is not source and name in base.assigned:
            return (
                f'{name} has no effect here, as {base.path} has been evaluated before; set the '
                'keys that it goes into'
            )
    if name.startswith('_'):
        return f'unknown key {name}; did you mean _base_?' if is_slip(name, '_base_') else ''
    meant = did_you_mean(name, KEYS)
    return f'unknown key {name}{meant or ", which nothing reads"}'


def meant_elsewhere(config: Any, name: str) -> str:
    """The end of the message for a top-level key that stands deeper in the config, or nothing."""
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
