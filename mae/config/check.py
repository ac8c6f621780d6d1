"""Finds what is wrong in a config before anything is built: keys, types and plain values."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, get_args, get_type_hints, is_typeddict

import mmengine.runner  # noqa: F401  registers mmengine's own loops, hooks and optimizers
from mmengine.registry import Registry

from mae.config.arguments import Arguments, arguments_of, describe_hint, fits
from mae.config.schema import FORWARDING, OPTIONS, PARTS, Builder, Run
from mae.config.source import meant_elsewhere
from mae.registry import MODELS
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean, is_typo, nearest

# Keys of every node that a registry builds.
_COMMON = ('type', '_scope_')
# Where a name without a scope may come from by mistake.
_SISTERS = ('mmpretrain',)
# Libraries of which only data sets have names in a config.
_DATA_SISTERS = ('torchvision',)
# How mmcv-lite says, as mmpretrain imports it, what it lacks for other models.
_OF_MMCV = r'Fail to import ``MultiScaleDeformableAttention``'


@dataclass(frozen=True)
class _Place:
    """A place in the config, and the library whose names need no scope there."""

    path: str
    scope: str

    def at(self, key: str | int) -> '_Place':
        return _Place(f'{self.path}.{key}' if self.path else str(key), self.scope)


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a config with an unknown key or type, or a plain value of the wrong kind.

    Nothing is built, and a config may be incomplete: a missing key shows when its owner is built.

    Raises:
        ConfigError: names the first mistake by its config path, and what would be right.
    """
    scope = config.get('default_scope') or 'mae'
    check_scope(scope)
    if config.get('data_preprocessor') and isinstance(config.get('model'), Mapping):
        model = {'data_preprocessor': config['data_preprocessor'], **config['model']}
        config = {**config, 'model': model}  # as mmengine's runner does
    _section(config, Run, _Place('', scope))


def _section(node: Mapping[str, Any], schema: type, place: _Place) -> None:
    """A dict of fixed keys."""
    hints = _hints_of(schema)
    _refuse_unknown(node, hints, place)
    for key, value in node.items():
        _value(value, hints[key], place.at(key))


def _value(value: Any, hint: Any, place: _Place) -> None:
    """What the schema or an annotation describes: a part, a section or a plain value."""
    builder, schema = _builder_of(hint), _schema_of(hint)
    if builder is not None:
        _parts(value, builder, place)
    elif schema is not None and isinstance(value, Mapping):
        _section(value, schema, place)
    elif not fits(value, hint):
        raise _misfit(place.path, hint, value)


def _parts(value: Any, builder: Builder, place: _Place) -> None:
    """What a registry builds: a dict with a type, a list of such, or nothing."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _parts(item, builder, place.at(index))
    elif isinstance(value, Mapping):
        _part(value, builder, place)
    elif isinstance(value, str | int | float):
        raise ConfigError(f'{place.path} must be a dict with a type, not {value!r}')


def _part(node: Mapping[str, Any], builder: Builder, place: _Place) -> None:
    """A dict with a type: its other keys are keywords of that class."""
    place = _Place(place.path, node.get('_scope_') or place.scope)
    if not node.get('type'):
        _refuse_typos(node, ['type'], place)
    name = node.get('type') or builder.default
    if name is None:
        raise ConfigError(f'{place.path} has no type')
    target = find_type(name, builder.registries, place.at('type').path, place.scope)
    arguments = arguments_of(target)
    skipped = {*_COMMON, *builder.extras}
    if helper := builder.helper or FORWARDING.get(arguments.owners[0]):
        key, default = helper
        skipped.add(key)
        registries = _registries_of(key)
        second = find_type(node.get(key) or default, registries, place.at(key).path, place.scope)
        arguments = arguments.joined(arguments_of(second))
    known = {*arguments.hints, *skipped}
    if arguments.is_open:
        _refuse_typos(node, known, place)
    else:
        _refuse_unknown(node, known, place, f' of {arguments.owners[0]}')
    for key, value in node.items():
        if key not in skipped:
            _argument(key, value, arguments, builder, place.at(key))


def _argument(key: str, value: Any, arguments: Arguments, builder: Builder, place: _Place) -> None:
    """A keyword of a class: a part in turn, a dict of its own, or a plain value."""
    hint = arguments.hints.get(key, Any)
    options = next((OPTIONS[o, key] for o in arguments.owners if (o, key) in OPTIONS), None)
    is_dict = isinstance(value, Mapping)
    if _builder_of(hint) or _schema_of(hint):
        _value(value, hint, place)
    elif is_dict and arguments.is_ours and not fits(value, hint):
        raise ConfigError(f'{place.path} must be {describe_hint(hint)}, not a dict')
    elif options is not None and is_dict:
        _options(value, options, place)
    elif key in PARTS and _holds_dicts(value, typed=not arguments.is_ours):
        _value(value, PARTS[key], place)
    elif arguments.is_ours and _holds_dicts(value, typed=True):
        _parts(value, builder, place)
    elif arguments.is_ours and is_dict and _names_parts(value):
        for name, part in value.items():
            _parts(part, builder, place.at(name))
    elif not arguments.fits(key, value):
        raise _misfit(place.path, hint, value)
    elif isinstance(value, Mapping):
        default = arguments.defaults.get(key)
        known = default if isinstance(default, Mapping) else ()
        _refuse_typos(value, ['type', *known], place)


def _options(node: Mapping[str, Any], options: type | tuple[str, ...], place: _Place) -> None:
    """A dict that a class passes on: a section, or the keywords of some functions."""
    if isinstance(options, type):
        _section(node, options, place)
        return
    found = [arguments_of(resolve_name(name)) for name in options]
    arguments = reduce(Arguments.joined, found)
    refuse = _refuse_typos if any(each.is_open for each in found) else _refuse_unknown
    refuse(node, {*arguments.hints, 'type'}, place)
    for key, value in node.items():
        if key in arguments.hints and not arguments.fits(key, value):
            raise _misfit(place.at(key).path, arguments.hints[key], value)


def _misfit(path: str, hint: Any, value: Any) -> ConfigError:
    """The error for a plain value of the wrong kind."""
    is_text = isinstance(value, int | float | list) and fits('', hint)
    cure = '; a text that looks like one needs quotes' if is_text else ''
    return ConfigError(f'{path} must be {describe_hint(hint)}, not {value!r}{cure}')


def _refuse_unknown(
    node: Mapping[str, Any], known: Collection[str], place: _Place, owner: str = ''
) -> None:
    for key in node:
        if key not in known:
            meant = did_you_mean(str(key), [k for k in known if k[0] != '_'], place.at('').path)
            if key == '_delete_':
                meant = '; it is for a dict that is merged with another: a list is replaced whole'
            if not place.path:
                meant = meant_elsewhere(node, str(key)) or meant
            raise ConfigError(f'unknown key {place.at(key).path}{owner}{meant}')


def _refuse_typos(node: Mapping[str, Any], known: Collection[str], place: _Place) -> None:
    """Refuse keys that are nearly a known one, where any key is allowed."""
    typos = [key for key in node if key not in known and any(is_typo(key, k) for k in known)]
    _refuse_unknown(dict.fromkeys(typos), known, place)


def _holds_dicts(value: Any, *, typed: bool) -> bool:
    """Whether this is a dict, with a `type` where `typed`, or a list with dicts."""
    if isinstance(value, list | tuple):
        return any(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) and (not typed or 'type' in value)


def _names_parts(value: Mapping[str, Any]) -> bool:
    """Whether this is a dict of parts by name, as `Groups` takes."""
    return any(isinstance(item, Mapping) and 'type' in item for item in value.values())


def _builder_of(hint: Any) -> Builder | None:
    metadata = getattr(hint, '__metadata__', ())
    return next((item for item in metadata if isinstance(item, Builder)), None)


def _schema_of(hint: Any) -> type | None:
    """The TypedDict among the options of a hint."""
    options = (hint, *get_args(hint))
    return next((option for option in options if is_typeddict(option)), None)


@cache
def _hints_of(schema: type) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def _registries_of(key: str) -> tuple[Registry, ...]:
    builder = _builder_of(PARTS[key])
    assert builder is not None
    return builder.registries


# --- what a `type` names, looked up as registries do, in sister libraries too ---------------


_REMOVED = {'EncodedCrop', 'collate_encoded', 'EncodedPreprocessor'}
_DECODE_IN_WORKERS = (
    'images are decoded in the workers, by DecodeRandomResizedCrop, RandomFlip and PackInputs with '
    'collate and ImagePreprocessor; where cores are few, tools/data/pack.py makes smaller files'
)


def find_type(
    name: Any, registries: tuple[Registry, ...], path: str, scope: str
) -> Callable[..., Any]:
    """The class or function that `name` refers to in a config.

    Args:
        name: as registered, with or without a scope (`mmpretrain.CUB`), a dotted Python name,
            or the class itself.
        registries: where to look, in this order.
        path: config key of the name, for messages.
        scope: the library whose names need no scope.

    Raises:
        ConfigError: nothing has that name; suggests the nearest.
    """
    if callable(name):
        return name  # type: ignore[no-any-return]
    if not isinstance(name, str):
        raise ConfigError(f'{path} must be the name of a class, not {name!r}')
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', _OF_MMCV)
        for registry in registries:
            found = _get(in_scope(registry, scope), name)
            if found is not None:
                return found
        if name.removeprefix('mae.') in _REMOVED:
            raise ConfigError(f'{name!r} at {path} is not there any more: {_DECODE_IN_WORKERS}')
        raise ConfigError(f'unknown type {name!r} at {path}{_hint(name, registries, scope)}')


def check_scope(scope: Any) -> None:
    """Refuse a `default_scope` that is no library with registries.

    Raises:
        ConfigError: suggests the nearest.
    """
    known = {'mmengine', *in_scope(MODELS, str(scope)).root.children, *_SISTERS}
    if scope not in known:
        raise ConfigError(f'default_scope={scope!r} is not known{did_you_mean(str(scope), known)}')


def in_scope(registry: Registry, scope: str) -> Registry:
    """The counterpart of a registry in another library, or mmengine's if that has none."""
    with suppress(ImportError):
        import_module(f'{scope}.registry')
    found: Registry = registry.root.children.get(scope, registry.root)
    return found


def _hint(name: str, registries: tuple[Registry, ...], scope: str) -> str:
    """The end of the message for an unknown name: the nearest known one."""
    package, _, plain = name.rpartition('.')
    if package and find_spec(package.partition('.')[0]) is None:
        scopes = {
            *_SISTERS,
            *(child for registry in registries for child in registry.root.children),
        }
        if package in _SISTERS:
            return f', as {package} is not installed: pip install {package}'
        return f', as there is no package {package!r}{did_you_mean(package, scopes)}'
    known = {other for registry in registries for other in _names(in_scope(registry, scope))}
    if not package and any(_get(in_scope(registry, 'mae'), plain) for registry in registries):
        return f'; did you mean mae.{plain}? default_scope is {scope!r}'
    for sister in _DATA_SISTERS:
        names = (name for registry in registries for name in _scoped_names(registry, sister))
        if not package and f'{sister}.{plain}' in names:
            return f'; did you mean {sister}.{plain}?'
    hint = '' if package else did_you_mean(plain, known)
    if '?' in hint:
        return hint
    sisters = [package] if package else _SISTERS
    others = [o for s in sisters for registry in registries for o in _scoped_names(registry, s)]
    near = nearest(name, others) if package else [o for o in others if o.endswith(f'.{plain}')]
    return f'; did you mean {near[0]}?' if near else hint


def _get(registry: Registry, name: str) -> Callable[..., Any] | None:
    try:
        found = registry.get(name)
    except (ImportError, RuntimeError):  # mmengine's way to say that there is no such module
        return None
    return found if callable(found) and not isinstance(found, ModuleType) else None


def _names(registry: Registry) -> Iterator[str]:
    """Every name that a config may use without a scope."""
    here: Registry | None = registry
    while here is not None:
        with suppress(ImportError):
            here.import_from_location()
        yield from here.module_dict
        here = here.parent


def _scoped_names(registry: Registry, scope: str) -> Iterator[str]:
    child = in_scope(registry, scope)
    with suppress(ImportError):
        child.import_from_location()
    yield from (f'{child.scope}.{name}' for name in child.module_dict)
