"""A recipe as a config that inherits the nearest shipped one and sets only what differs."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from mae.config.files import shipped_configs
from mae.config.grammar import Promise, parse_name
from mae.config.imports.recipe import ImportedRecipe, type_of
from mae.config.load import FROM_OPTIONS, load_config
from mae.config.write import Variable, config_text
from mae.registry import MODELS
from mae.utils.dotted_keys import node_at
from mae.utils.errors import ConfigError

_VALIDATION = 'val_dataloader'
_WRAP = textwrap.TextWrapper(
    98, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
)


@dataclass(frozen=True)
class Leaf:
    """A config to be written.

    Attributes:
        base: name of the shipped config that it inherits.
        values: what differs, by dotted key.
        left_out: what of the recipe could not be carried over.
        text: of the file.
    """

    base: str
    values: dict[str, Any]
    left_out: tuple[str, ...]
    text: str


def as_leaf(recipe: ImportedRecipe) -> Leaf:
    """The nearest shipped config, by the number of values that differ, and these values.

    Raises:
        ConfigError: a value of the recipe is of no kind that is known here.
    """
    candidates = [(len(d), *rank, name, d) for name, rank, d in _compared(recipe)]
    *_, base, values = min(candidates, key=lambda entry: entry[:-1])
    _check(recipe, base, values)
    if any(key.startswith(f'{_VALIDATION}.') for key in values):
        values['test_dataloader'] = Variable(_VALIDATION)
    text = config_text(_about(recipe), base, values, {})
    return Leaf(base, values, tuple(recipe.left_out), text)


def _compared(recipe: ImportedRecipe) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Of each config of the job its name, how plain it is, and what differs from it."""
    job = None if recipe.job == 'pretrain' else recipe.job
    arch = recipe.values.get('model.encoder.arch')
    named = [(path, parse_name(path.stem)) for path in shipped_configs()]
    known = [(path, p) for path, p in named if p and p.job == job and _is_plain(p)]
    same = [(path, p) for path, p in known if p.arch == arch]
    return [
        (path.stem, _rank(promise), differing(load_config(path), recipe.values))
        for path, promise in same or known
    ]


def _is_plain(promise: Promise) -> bool:
    """Whether nothing in a config differs from a recipe's kind but values that recipes have."""
    special = promise.variant == 'grid' or (promise.ablation or '').startswith('lowres')
    return promise.data == 'in1k' and promise.percent == 100 and not special


def _rank(promise: Promise) -> tuple[Any, ...]:
    return (
        promise.ablation or '',
        promise.variant or '',
        promise.paper,
        promise.epochs or 0,
    )


def differing(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that a config does not have; of a dict the keys that differ."""
    return dict(_differing(config, values))


def _differing(config: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        ours = _value_at(config, key)
        if _is_same(ours, value):
            continue
        if not (isinstance(ours, Mapping) and isinstance(value, Mapping)):
            yield key, value
        elif set(ours) <= set(value):
            changed = [name for name in value if not _is_same(ours.get(name), value[name])]
            yield from ((f'{key}.{name}', value[name]) for name in changed)
        else:
            yield key, {'_delete_': True, **value}


def _value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a key, or what the class takes where the config states none."""
    if (value := node_at(config, key)) is not None:
        return value
    place, _, last = key.rpartition('.')
    kind = type_of(node_at(config, place)) if place.startswith('model.') else ''
    if not (kind and (built := MODELS.get(kind))):
        return None
    found = signature(built).parameters.get(last)
    return None if found is None or found.default is Parameter.empty else found.default


def _is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return all(_is_same(ours.get(key), theirs.get(key)) for key in {*ours, *theirs} - {'size'})
    if _is_list(ours) and _is_list(theirs):
        return len(ours) == len(theirs) and all(map(_is_same, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-9)
    return bool(ours == theirs) or (ours is None and not theirs)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check(recipe: ImportedRecipe, base: str, values: Mapping[str, Any]) -> None:
    """Load what the file will say, before it is written."""
    try:
        load_config(base, values)
    except ConfigError as error:
        message = str(error).removeprefix(FROM_OPTIONS)
        raise ConfigError(f'{recipe.origin}: {message}') from error


def _about(recipe: ImportedRecipe) -> str:
    """The docstring: where it is from, and what is missing."""
    lines = [f'From {recipe.origin}, by `mae config import`.']
    if recipe.left_out:
        lines += ['', 'Not carried over:']
        for line in recipe.left_out:
            lines += _WRAP.wrap(f'- {line}')
    return '\n'.join(lines) + '\n' * bool(recipe.left_out)
