"""Where in a checkpoint the weights of a model are, whatever was wrapped around them.

A model is found by its patch projection, which every layout has: what stands before it in the
name (keys of nested dicts, prefixes of modules around the model) is the wrapping.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mae.utils.errors import CheckpointError
from mae.zoo.formats.name_map import Layout
from mae.zoo.formats.name_maps import LAYOUTS, MAE

# Modules that only wrap another and may do so anywhere: DDP and DeepSpeed, `torch.compile`, FSDP,
# activation checkpointing, Lightning's Fabric.
_TRANSPARENT = frozenset({
    'module', '_orig_mod', '_fsdp_wrapped_module', '_fpw_module', '_checkpoint_wrapped_module',
    '_forward_module',
})  # fmt: skip
# Words in the names of weights that are averages of others.
_AVERAGES = frozenset({'ema', 'swa', 'avg', 'average', 'averaged', 'shadow'})
_ANCHOR = 'encoder.patch_embed.proj.weight'
_USUAL = ('', 'state_dict.', 'model.', 'state_dict.model.')  # need no word in the report
_DEEPEST = 8  # dicts in dicts


@dataclass(frozen=True)
class Wrapped:
    """Weights in their own names, without the wrapping, and lines for the report."""

    weights: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


class _Item(NamedTuple):
    """A tensor of a checkpoint: its full name as it is, and the dict that it is in."""

    full: str
    parent: str
    value: Tensor


class _Model(NamedTuple):
    """A model in a checkpoint.

    Attributes:
        root: what stands before its names, without transparent modules.
        outer: what stands before its names, with transparent modules.
        layout: the one that has most of its names.
    """

    root: str
    outer: str
    layout: Layout

    def weights(self, named: 'ItemsByName') -> dict[str, Tensor]:
        """Its weights, without what a transparent module has beside the model, such as a count."""
        return {
            name.removeprefix(self.root): item.value
            for name, item in named.items()
            if name.startswith(self.root) and item.full.startswith(self.outer)
        }

    def __str__(self) -> str:
        return self.root.rstrip('.') or 'the top'


ItemsByName = dict[str, _Item]  # by full name without transparent modules


def unwrap(checkpoint: Mapping[str, Any], path: object, key: str | None = None) -> Wrapped:
    """The weights of the one model in a checkpoint.

    Where weights and averages of them lie side by side, those that are no averages are meant, and
    the report says so.

    Args:
        checkpoint: dicts of tensors, nested in any way; other content is ignored.
        path: where it came from, for messages.
        key: dotted name of the weights to take where there are several: names of dicts and
            prefixes.

    Raises:
        CheckpointError: it contains no weights, none under `key`, or several models of equal rank;
            says how to choose.
    """
    named = _flatten(checkpoint, path)
    if key is not None:
        named = _under(named, key, path)
    models = _models(named)
    if not models:  # of parts unknown here, or no model: the caller reports which
        parent = Counter(item.parent for item in named.values()).most_common(1)[0][0]
        alone = {n.removeprefix(parent): i.value for n, i in named.items() if i.parent == parent}
        return Wrapped(alone)
    model, others = _choose(models, named, path)
    weights = model.weights(named)
    notes = [] if model.root in _USUAL else [f'found under {model}']
    notes += [
        f'took {model}; {other} holds other weights, which {_advice(path, other)} takes'
        for other in others
    ]
    notes += _beside(model, others, named)
    for part in _parts(model, models):
        inner = part.root.removeprefix(model.root)
        weights = {name: v for name, v in weights.items() if not name.startswith(inner)}
        notes.append(f'left out {part}, a model within the model')
    return Wrapped(weights, notes)


def _flatten(checkpoint: Mapping[str, Any], path: object) -> ItemsByName:
    """Every tensor by its name without transparent modules."""
    named: ItemsByName = {}
    for item in _tensors(checkpoint):
        name = _plain(item.full)
        if name in named:
            raise CheckpointError(
                f'{path} holds {name} twice: as {named[name].full} and as {item.full}'
            )
        named[name] = item
    if not named:
        usual = (checkpoint.get(key) for key in ('state_dict', 'model'))
        inner = next((group for group in usual if isinstance(group, dict)), checkpoint)
        found = ', '.join(str(key) for key in list(inner)[:4] if key != 'proof') or 'nothing'
        raise CheckpointError(f'{path} holds no weights, but {found}')
    return named


def _tensors(checkpoint: Mapping[str, Any]) -> Iterator[_Item]:
    """Every tensor of a checkpoint once, even if its dict stands in two places.

    Dicts by number, such as the states of an optimizer, contain no weights by name.
    """
    queue: list[tuple[str, Mapping[Any, Any], int]] = [('', checkpoint, 0)]
    seen: set[int] = set()
    while queue:
        prefix, group, depth = queue.pop(0)
        if id(group) in seen:
            continue
        seen.add(id(group))
        for key, value in group.items():
            if isinstance(key, str) and isinstance(value, Tensor):
                yield _Item(prefix + key, _plain(prefix), value)
            elif isinstance(key, str) and isinstance(value, dict) and depth < _DEEPEST:
                queue.append((f'{prefix}{key}.', value, depth + 1))


def _plain(name: str) -> str:
    if not any(part in name for part in _TRANSPARENT):
        return name
    return '.'.join(part for part in name.split('.') if part not in _TRANSPARENT)


def _under(named: ItemsByName, key: str, path: object) -> ItemsByName:
    """Those whose name, with or without transparent modules, begins with `key`."""
    start = f'{str(key).rstrip(".")}.'
    found = {
        name: item
        for name, item in named.items()
        if name.startswith(start) or item.full.startswith(start)
    }
    if not found:
        there = ', '.join(map(str, _models(named))) or next(iter(named))
        raise CheckpointError(f'{path} holds no weights under {key!r}; it holds {there}')
    return found


def _models(named: ItemsByName) -> list[_Model]:
    """All models, each in the layout and from the root that explain most of the names."""
    best: dict[str, _Model] = {}
    for anchor in (n for n in named if 'patch_embed' in n and n.endswith('.weight')):
        found = [
            (_known(named, root, layout), -len(root), -number, root, layout)
            for number, layout in enumerate(LAYOUTS)
            for root in _beginnings(anchor)
            if layout.place(anchor.removeprefix(root)) == (_ANCHOR, None)
        ]
        if found:
            *_, root, layout = max(found, key=lambda each: each[:3])
            outers = _beginnings(named[anchor].full)
            outer = max((o for o in outers if _plain(o) == root), key=len, default='')
            best[root] = _Model(root, outer, layout)
    return list(best.values())


def _beginnings(name: str) -> list[str]:
    """'' and every beginning of a name that ends in a dot."""
    parts = name.split('.')
    return [''.join(f'{part}.' for part in parts[:end]) for end in range(len(parts) - 1)]


def _known(names: Iterable[str], root: str, layout: Layout) -> int:
    inside = (name.removeprefix(root) for name in names if name.startswith(root))
    return sum(layout.has_key(name) for name in inside)


def _choose(models: list[_Model], named: ItemsByName, path: object) -> tuple[_Model, list[_Model]]:
    """The model that is meant, and the others beside it."""
    roots = [model.root for model in models]
    outer = [m for m in models if not any(m.root != r and m.root.startswith(r) for r in roots)]
    plain = [model for model in outer if not _is_average(model)] or outer
    if len(plain) > 1 and not _all_alike(plain, named):
        keys = ', '.join(map(str, plain))
        raise CheckpointError(
            f'{path} holds {len(plain)} models: {keys}; choose one with {_advice(path, plain[0])}'
        )
    return plain[0], [model for model in outer if model not in plain]


def _is_average(model: _Model) -> bool:
    return not _AVERAGES.isdisjoint(model.root.lower().replace('.', '_').split('_'))


def _all_alike(models: list[_Model], named: ItemsByName) -> bool:
    """Whether the same weights are there several times."""
    first, *rest = (model.weights(named) for model in models)
    return all(
        first.keys() == other.keys() and all(torch.equal(first[n], other[n]) for n in first)
        for other in rest
    )


def _beside(model: _Model, others: list[_Model], named: ItemsByName) -> list[str]:
    """A line on what lies in the same dict as a model, and is not of any."""
    taken = {f'{one.root}{name}' for one in (model, *others) for name in one.weights(named)}
    parent = next(
        named[name].parent for name in named if name in taken and name.startswith(model.root)
    )
    left = [name for name, item in named.items() if item.parent == parent and name not in taken]
    if not left:
        return []
    first = ', '.join(sorted({name.removeprefix(parent).split('.')[0] for name in left})[:4])
    return [f'left out what lies beside the model: {first}']


def _parts(model: _Model, models: list[_Model]) -> list[_Model]:
    """Models within one; one of this toolbox may have such parts, and keeps them."""
    if model.layout is MAE:
        return []
    return [one for one in models if one.root != model.root and one.root.startswith(model.root)]


def _advice(path: object, model: _Model) -> str:
    return f'mae zoo convert {path} OUT --to mae --key {model}'
