"""Running a config file and those it inherits from."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from mmengine.config import Config

from mae.config.files import find_base
from mae.config.merge import merged
from mae.config.source import ConfigSource
from mae.utils.errors import ConfigError
from mae.utils.text import first_line

_LOCK = RLock()
_REFERENCE = re.compile(r'\{\{\s*_base_\.([\w.]+)')


def read_config(path: Path, source: ConfigSource) -> Config:
    """Run a config file and those it inherits from, without importing anything for it.

    Args:
        path: of the file.
        source: of the same file, from `read_source`.

    Raises:
        ConfigError: names the file and line that cannot be run.
    """
    try:
        with _our_rules():
            return Config.fromfile(path, import_custom_modules=False, lazy_import=source.is_pure)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    except Exception as error:  # whatever the code in the file does wrong
        if isinstance(error, KeyError) and (said := _twice(source)):
            raise ConfigError(said) from error
        if isinstance(error, KeyError) and (said := _not_inherited(source, str(error.args[0]))):
            raise ConfigError(said) from error
        frames = traceback.extract_tb(error.__traceback__)
        names = {str(file.path) for file in source.files()}
        lines = [f'{f.filename}:{f.lineno}' for f in frames if str(f.filename) in names]
        where = lines[-1] if lines else str(path)
        raise ConfigError(f'{where}: {type(error).__name__}: {first_line(error)}') from error


def _twice(source: ConfigSource) -> str | None:
    """The message for a variable that two bases of one file assign, if there is one."""
    for heir in source.files():
        seen: dict[str, ConfigSource] = {}
        for base in heir.bases:
            names = {name: file for file in base.files() for name in file.assigned}
            if both := sorted(names.keys() & seen.keys() - {'_base_'}):
                name = both[0]
                return (
                    f'{heir.path}: two files of its _base_ have {name}, {seen[name].path} and '
                    f'{names[name].path}; keep one of them, or let the second inherit the first'
                )
            seen |= names
    return None


def _not_inherited(source: ConfigSource, key: str) -> str | None:
    """The message for a `{{_base_.a.b}}` through a key that the bases do not have."""
    for file in source.files():
        text = file.path.read_text(encoding='utf-8')
        for number, line in enumerate(text.splitlines(), start=1):
            for name in _REFERENCE.findall(line):
                if key in name.split('.'):
                    return f'{file.path}:{number}: {{{{_base_.{name}}}}}: the bases have no {key!r}'
    return None


@contextmanager
def _our_rules() -> Iterator[None]:
    """Have mmengine find bases and merge dicts as we do: it leaves no other way in."""
    with _LOCK:
        theirs = {name: vars(Config)[name] for name in ('_get_cfg_path', '_merge_a_into_b')}
        find_theirs = Config._get_cfg_path

        def find(name: str, heir: str) -> tuple[str, str | None]:
            found = find_base(name, Path(heir))
            return find_theirs(name, heir) if found is None else (str(found), None)

        def merge(new: dict[str, Any], old: dict[str, Any], *unused: bool) -> dict[str, Any]:
            if '_delete_' in new:
                raise ConfigError('_delete_ stands inside of the dict that is to be started anew')
            result: dict[str, Any] = merged(new, old)
            return result

        Config._get_cfg_path, Config._merge_a_into_b = staticmethod(find), staticmethod(merge)
        try:
            yield
        finally:
            for name, function in theirs.items():
                setattr(Config, name, function)
