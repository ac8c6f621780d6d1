"""Sets the model's image size in every pipeline that does not state its own."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import Registry

from mae.registry import DATASETS, MODELS, TRANSFORMS
from mae.utils.errors import ConfigError

_KEY = 'model.encoder.img_size'


def fill_in_img_size(config: Mapping[str, Any]) -> dict[str, Any]:
    """Set the image size of the model in the transforms and sources of a run's config, in place.

    A transform that needs a `size` and a source with an `img_size` get it unless they state one.
    Without an image size of the model nothing changes.

    Returns:
        The keys that were set, such as `train_dataloader.dataset.pipeline.0.size`, with the size.

    Raises:
        ConfigError: a pipeline ends in images of another size; names both keys.
    """
    size = _model_size(config)
    if size is None:
        return {}
    scope = config.get('default_scope') or 'mae'
    filled = {}
    for path, node in _datasets({key: config[key] for key in config if key != 'model'}):
        steps = [(f'{path}.pipeline.{i}', step) for i, step in enumerate(node['pipeline'])]
        sources = list(_sources(node.get('source'), f'{path}.source'))
        for place, taker in (*steps, *sources):
            key = _wanted(taker, size, scope)
            if key is not None and key not in taker:
                taker[key] = filled[f'{place}.{key}'] = size
        _check(steps, sources, size, scope)
    return filled


def _model_size(config: Mapping[str, Any]) -> Any:
    """`model.encoder.img_size`, or its default; None where there is none."""
    model = config.get('model')
    encoder = model.get('encoder') if isinstance(model, Mapping) else None
    if not isinstance(encoder, Mapping):
        return None
    if 'img_size' in encoder:
        return encoder['img_size']
    parameter = _parameter(encoder, 'img_size', MODELS, config.get('default_scope') or 'mae')
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _datasets(node: object, path: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every dict with a pipeline of its own, by its key."""
    if isinstance(node, Mapping) and isinstance(node.get('pipeline'), list | tuple):
        yield path, node
    elif isinstance(node, Mapping | list | tuple):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _datasets(value, f'{path}.{key}' if path else str(key))


def _sources(node: object, path: str) -> Iterator[tuple[str, Any]]:
    """A source and those nested in it."""
    if isinstance(node, Mapping):
        yield path, node
        yield from _sources(node.get('source'), f'{path}.source')


def _wanted(node: object, img_size: object, scope: str) -> str | None:
    """The key that takes the size; a `size` that has a default means another one."""
    if not isinstance(node, Mapping):
        return None
    size = _parameter(node, 'size', TRANSFORMS, scope)
    if size is not None and size.default is size.empty:
        return 'size'
    own = _parameter(node, 'img_size', DATASETS, scope)
    # A source of square images takes one number; if the encoder is not square, it raises.
    is_taken = own is not None and (isinstance(img_size, int) or own.annotation is not int)
    return 'img_size' if is_taken else None


def _parameter(
    node: Mapping[str, Any], key: str, registry: Registry, scope: str
) -> inspect.Parameter | None:
    found = _class_of(node, registry, scope)
    return inspect.signature(found).parameters.get(key) if callable(found) else None


def _class_of(node: object, registry: Registry, scope: str) -> object:
    """The class that `node` names, if that is registered in this toolbox."""
    if not isinstance(node, Mapping):
        return None
    name = node.get('type')
    if isinstance(name, str):
        scope, name = name.rsplit('.', 1) if '.' in name else (node.get('_scope_', scope), name)
        registry.import_from_location()
        name = registry.module_dict.get(name) if scope == 'mae' else None
    return name


def _check(
    steps: list[tuple[str, Any]], sources: list[tuple[str, Any]], size: object, scope: str
) -> None:
    """Compare the size at the end of a pipeline with the model's, as far as it is known."""
    for place, step in reversed(steps):
        transform = _class_of(step, TRANSFORMS, scope)
        if getattr(transform, 'sets_size', False) and 'size' in step:
            _compare(f'{place}.size', step['size'], size)
        if not getattr(transform, 'keeps_size', False):
            return
    for place, source in sources:
        if 'img_size' in source:
            _compare(f'{place}.img_size', source['img_size'], size)


def _compare(key: str, found: object, size: object) -> None:
    if _pair(found) != _pair(size):
        raise ConfigError(
            f'{key} is {found}, but {_KEY} is {size}; leave out the first, which then follows'
        )


def _pair(size: object) -> object:
    return tuple(size) if isinstance(size, list | tuple) else (size, size)
