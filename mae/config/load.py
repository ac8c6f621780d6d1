"""A config from a name: found, read, changed by options and checked before anything is built."""

import copy
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from mae.config.files import find_base, find_config
from mae.config.nodes import merged
from mae.config.options import merge_options
from mae.config.schema import IDLE, KEYS
from mae.config.source import ConfigSource, Helpers, find_helpers, read_source
from mae.utils.dotted_keys import node_at, places_of
from mae.utils.errors import ConfigError
from mae.utils.text import first_line, one_line

# Attribute of a `Config`: by key the image sizes that no file stated and `load_config` filled in.
_FILLED_IN = '_filled_in'
# What an error begins with that the options caused.
FROM_OPTIONS = 'cfg_options: '
_LOCK = RLock()
_REFERENCE = re.compile(r'\{\{\s*_base_\.([\w.]+)')


def load_config(
    config: str | Path | Config, cfg_options: Mapping[str, Any] | None = None
) -> Config:
    """A config in which every key and type is known.

    A file may keep helper variables for itself: those that it reads, or that one which inherits
    from it reads as `{{_base_.name}}`, and those whose names start with an underscore.

    Args:
        config: path, name of a shipped config (see `find_config`), or a `Config`, which is left
            as it is.
        cfg_options: values to change, by dotted key (see `parse_options`).

    Raises:
        ConfigError: there is no such config, it cannot be read, or something in it is unknown or
            of the wrong kind; one line that names the place and what would be right.
    """
    options = cfg_options or {}
    if isinstance(config, Config):
        loaded, helpers = copy.deepcopy(config), _helpers_of(config, options)
    else:
        path = find_config(config)
        source = read_source(path.resolve())
        loaded, helpers = read_config(path, source), find_helpers(source)
    _take_out_sizes(loaded)
    _drop(helpers, loaded, options)
    plain = copy.deepcopy(loaded)  # image sizes are filled in in place
    try:
        merge_options(loaded, options)
        _check(loaded)
        _warn_of_idle_keys(loaded)
        object.__setattr__(loaded, _FILLED_IN, _fill_in_img_size(loaded))
    except ConfigError as error:
        raise ConfigError(f'{_origin(plain, cfg_options)}{error}') from error
    return loaded


def _helpers_of(config: Config, options: Mapping[str, Any]) -> Helpers:
    """The helper variables of the file that a config was read from; none where it has no file."""
    path = Path(config.filename or '')
    names = {*config, *(key.partition('.')[0] for key in options)}
    if names <= KEYS or not path.is_file():
        return Helpers()
    return find_helpers(read_source(path.resolve()))


def _drop(helpers: Helpers, config: Config, options: Mapping[str, Any]) -> None:
    """Remove the helper variables; an option for one of them is an error, as it comes too late."""
    taken = helpers.take_from(config)
    for key in options:
        name = key.partition('.')[0]
        if name in helpers.files:
            places = places_of(config, node_at(taken, key))[:3]
            raise ConfigError(
                f'{FROM_OPTIONS}{name} is a helper variable of {helpers.files[name]}, which has '
                f'been evaluated before; set {", ".join(places) or "the keys that it goes into"}'
            )


def _take_out_sizes(config: Config) -> None:
    """Remove the sizes that an earlier load filled in: the model's may have changed since."""
    for key, size in config.__dict__.get(_FILLED_IN, {}).items():
        place, _, last = key.rpartition('.')
        node = node_at(config, place)
        if isinstance(node, Mapping) and node.get(last) == size:
            del node[last]  # type: ignore[attr-defined]


def _warn_of_idle_keys(config: Config) -> None:
    for key, why in IDLE.items():
        place, _, last = key.rpartition('.')
        if last in (node_at(config, place) or {}):
            print_log(f'{key} has no effect: {why}', 'current', logging.WARNING)


def _check(config: Config) -> None:
    # Imports torch and mmengine's runner: a config that cannot be read is an error before.
    from mae.config.check import check_config

    custom = config.get('custom_imports')
    if isinstance(custom, Mapping) and custom.get('imports'):
        _import(custom['imports'], allow_failed=bool(custom.get('allow_failed_imports')))
    names = [key for key in config if key not in config._imported_names]
    try:
        check_config({key: config[key] for key in names})
    except ImportError as error:  # what a config in pure Python imports
        raise ConfigError(one_line(error)) from error


def _fill_in_img_size(config: Config) -> dict[str, Any]:
    from mae.engine.img_size import fill_in_img_size  # late, as in `_check`

    return fill_in_img_size(config)


def _import(names: Any, *, allow_failed: bool) -> None:
    try:
        import_modules_from_strings(names, allow_failed_imports=allow_failed)
    except ImportError as error:
        raise ConfigError(
            f'custom_imports: {error}; PYTHONPATH must hold the folder of the module'
        ) from error


def _origin(config: Config, cfg_options: Mapping[str, Any] | None) -> str:
    """Where an error comes from: the options if the file is valid without them, else the file."""
    if cfg_options:
        try:
            _check(config)
            _fill_in_img_size(config)
        except ConfigError:
            pass
        else:
            return FROM_OPTIONS
    return f'{config.filename}: ' if config.filename else ''


def read_config(path: Path, source: ConfigSource) -> Config:
    """Run a config file and those it inherits from, without importing anything for it.

    Args:
        path: Python, JSON or YAML.
        source: what `read_source` returned for it.

    Raises:
        ConfigError: names the file and line that cannot be run.
    """
    try:
        with _our_rules():
            return Config.fromfile(path, import_custom_modules=False, lazy_import=source.is_pure)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    except Exception as error:  # whatever the code in the file does wrong
        if isinstance(error, KeyError) and (message := _twice(source)):
            raise ConfigError(message) from error
        if isinstance(error, KeyError) and (message := _not_inherited(source, str(error.args[0]))):
            raise ConfigError(message) from error
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
    """Make mmengine find bases and merge dicts by our rules, for which it has no hook."""
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
