"""One way of naming the weights of a ViT or MAE, as a table that is read in both directions.

Ours are the names of `mae.models.algorithms`: `encoder.*`, `decoder.*`, `head.{fc_norm,fc}.*`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

# Weights of a block, in our names.
INNER = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
STACKS = ('encoder.blocks', 'decoder.blocks')

_LEAVES = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')

# Our name of the tensor that a key holds, and the part: None for the whole, else 0, 1, 2 for q, k,
# v.
Place = tuple[str, int | None]


@dataclass(frozen=True)
class Layout:
    """How another library names the same tensors.

    Attributes:
        name: identifier, as `--to` takes it.
        title: name of the library in messages.
        outer: our module or parameter outside the blocks to theirs; the blocks' own list too.
        inner: their names of `INNER`; three where they split `attn.qkv`.
        heads: our `head.fc_norm` and `head.fc` to theirs, for each kind of head they have:
            'avg' (LayerNorm), 'cls' (no norm), 'probe' (BatchNorm without affine).
        aliases: (pattern, replacement) for keys of other versions, applied in this order.
        dropped: pattern of keys that we do not need, to the reason.
    """

    name: str
    title: str
    outer: Mapping[str, str]
    inner: tuple[tuple[str, ...], ...]
    heads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aliases: tuple[tuple[str, str], ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _inverse(self) -> list[tuple[str, str]]:
        """Their module and ours, the longer first: `head.0` before `head`."""
        tables = [self.outer, *self.heads.values()]
        pairs = {theirs: ours for table in tables for ours, theirs in table.items()}
        return sorted(pairs.items(), key=lambda pair: -len(pair[0]))

    @cached_property
    def _inner_inverse(self) -> dict[str, Place]:
        inverse: dict[str, Place] = {}
        for ours, theirs in zip(INNER, self.inner, strict=True):
            for part, name in enumerate(theirs):
                inverse[name] = (ours, part if len(theirs) > 1 else None)
        return inverse

    def canonical(self, key: str) -> str:
        """The key as this layout's own newest names would have it."""
        for pattern, replacement in self.aliases:
            key = re.sub(pattern, replacement, key)
        return key

    def why_dropped(self, key: str) -> str | None:
        """Why a key is dropped; None if it is needed or unknown."""
        return next((why for pattern, why in self.dropped.items() if re.match(pattern, key)), None)

    def has_key(self, key: str) -> bool:
        """Whether this layout has the key, dropped keys included."""
        return self.place(key) is not None or self.why_dropped(key) is not None

    def place(self, key: str) -> Place | None:
        """Our tensor and part that a key of theirs holds; None if they have no such key."""
        key = self.canonical(key)
        for theirs, ours in self._inverse:
            if key == theirs:
                return ours, None
            if not key.startswith(f'{theirs}.'):
                continue
            rest = key[len(theirs) + 1 :]
            if ours not in STACKS:
                return (f'{ours}.{rest}', None) if rest in _LEAVES else None
            number, _, layer = rest.partition('.')
            inner, _, kind = layer.rpartition('.')
            if number.isdecimal() and inner in self._inner_inverse and kind in _LEAVES:
                name, part = self._inner_inverse[inner]
                return f'{ours}.{number}.{name}.{kind}', part
        return None

    def keys(self, name: str, head: str | None = None) -> tuple[str, ...]:
        """Their keys of our tensor `name`, three where they split it.

        Raises:
            KeyError: they have no such tensor.
        """
        outer = {**self.outer, **self.heads.get(head or '', {})}
        for ours, theirs in outer.items():
            if name == ours:
                return (theirs,)
            if not name.startswith(f'{ours}.'):
                continue
            rest = name[len(ours) + 1 :]
            if ours not in STACKS:
                return (f'{theirs}.{rest}',)
            number, _, layer = rest.partition('.')
            inner, _, kind = layer.rpartition('.')
            parts = self.inner[INNER.index(inner)]
            return tuple(f'{theirs}.{number}.{part}.{kind}' for part in parts)
        raise KeyError(name)

    def holds(self, name: str, head: str | None = None) -> bool:
        """Whether they have our tensor `name`."""
        try:
            return bool(self.keys(name, head))
        except KeyError:
            return False

    def rename_back(self, weights: Mapping[str, Tensor], head: str | None) -> dict[str, Tensor]:
        """Our weights in their names, split where they split.

        Raises:
            KeyError: they have no place for one of the weights.
        """
        renamed: dict[str, Tensor] = {}
        for name, value in weights.items():
            keys = self.keys(name, head)
            parts = value.chunk(len(keys)) if len(keys) > 1 else (value,)
            renamed |= {key: part.contiguous() for key, part in zip(keys, parts, strict=True)}
        return renamed


def join(parts: Mapping[int, Tensor]) -> Tensor:
    """Queries, keys and values as the one tensor that we keep them in."""
    return torch.cat([parts[number] for number in range(3)])
