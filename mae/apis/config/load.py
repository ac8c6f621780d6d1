"""A config from a name: found, read, changed by options and checked before anything is built."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from mae.apis.config.check import check_config
from mae.apis.config.files import find_config, read_config
from mae.apis.config.options import merge_options
from mae.utils.errors import ConfigError


def load_config(
    config: str | Path | Config, cfg_options: Mapping[str, Any] | None = None
) -> Config:
    """A config in which every key and type is known.

    A file may keep helper variables for itself: their names start with an underscore.

    Args:
        config: path, name of a shipped config (see `find_config`), or a `Config`, which is left
            as it is.
        cfg_options: values to change, by dotted key (see `parse_options`).

    Raises:
        ConfigError: there is no such config, it cannot be read, or something in it is unknown or
            of the wrong kind; one line that names the place and what would be right.
    """
    if isinstance(config, Config):
        loaded = copy.deepcopy(config)
    else:
        loaded = read_config(find_config(config))
    for key in [key for key in loaded if key.startswith('_')]:
        loaded.pop(key)
    plain = copy.copy(loaded)
    try:
        merge_options(loaded, cfg_options or {})
        _check(loaded)
    except ConfigError as error:
        raise ConfigError(f'{_source(plain, cfg_options)}{error}') from error
    return loaded


def _check(config: Config) -> None:
    custom = config.get('custom_imports')
    if isinstance(custom, Mapping) and custom.get('imports'):
        _import(custom['imports'], allow_failed=bool(custom.get('allow_failed_imports')))
    names = [key for key in config if key not in config._imported_names]
    try:
        check_config({key: config[key] for key in names})
    except ImportError as error:  # what a config in pure Python imports
        raise ConfigError(' '.join(str(error).split())) from error


def _import(names: Any, *, allow_failed: bool) -> None:
    try:
        import_modules_from_strings(names, allow_failed_imports=allow_failed)
    except ImportError as error:
        raise ConfigError(
            f'custom_imports: {error}; PYTHONPATH must hold the folder of the module'
        ) from error


def _source(config: Config, cfg_options: Mapping[str, Any] | None) -> str:
    """Who is to blame: the options, if the file is right without them."""
    if cfg_options:
        try:
            _check(config)
        except ConfigError:
            pass
        else:
            return '--cfg-options: '
    return f'{config.filename}: ' if config.filename else ''
