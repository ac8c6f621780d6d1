"""What a `type` of a config names: looked up as the builders do, across sister libraries."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from mmengine.registry import Registry

from mae.registry import MODELS
from mae.utils.errors import ConfigError
from mae.utils.suggest import did_you_mean, nearest

# Where a name without a scope may come from by mistake.
_SISTERS = ('mmpretrain',)


def find_type(
    name: Any, registries: tuple[Registry, ...], path: str, scope: str
) -> Callable[..., Any]:
    """The class or function that `name` stands for in a config.

    Args:
        name: as registered, with or without a scope (`mmpretrain.CUB`), a dotted Python name,
            or the class itself.
        registries: where to look, in this order.
        path: of the name in the config, for the message.
        scope: the library whose names need no scope.

    Raises:
        ConfigError: nothing of that name; tells the nearest.
    """
    if callable(name):
        return name  # type: ignore[no-any-return]
    if not isinstance(name, str):
        raise ConfigError(f'{path} must be the name of a class, not {name!r}')
    for registry in registries:
        found = _get(in_scope(registry, scope), name)
        if found is not None:
            return found
    raise ConfigError(f'unknown type {name!r} at {path}{_hint(name, registries, scope)}')


def check_scope(scope: Any) -> None:
    """Refuse a `default_scope` that is no library with registries.

    Raises:
        ConfigError: tells the nearest.
    """
    known = {'mmengine', *in_scope(MODELS, str(scope)).root.children, *_SISTERS}
    if scope not in known:
        raise ConfigError(f'default_scope={scope!r} is not known{did_you_mean(str(scope), known)}')


def in_scope(registry: Registry, scope: str) -> Registry:
    """The registry of the same job in another library, or mmengine's if that has none."""
    with suppress(ImportError):
        import_module(f'{scope}.registry')
    found: Registry = registry.root.children.get(scope, registry.root)
    return found


def _hint(name: str, registries: tuple[Registry, ...], scope: str) -> str:
    """What may have been meant by a name that is not there."""
    package, _, plain = name.rpartition('.')
    if package and find_spec(package.partition('.')[0]) is None:
        scopes = {
            *_SISTERS,
            *(child for registry in registries for child in registry.root.children),
        }
        return f', as there is no package {package!r}{did_you_mean(package, scopes)}'
    known = {other for registry in registries for other in _names(in_scope(registry, scope))}
    if not package and any(_get(in_scope(registry, 'mae'), plain) for registry in registries):
        return f'; did you mean mae.{plain}? default_scope is {scope!r}'
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
