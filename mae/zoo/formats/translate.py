"""Translates the names in a file to ours, and refuses names that no layout has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.fault_tolerance.checkpoint import read_raw
from mae.utils.errors import CheckpointError
from mae.zoo.formats.architecture import Architecture, architecture_of
from mae.zoo.formats.manifest import check_manifest, check_name
from mae.zoo.formats.metadata import Facts, check_facts, embedded_metadata, facts_of
from mae.zoo.formats.name_map import Layout, join
from mae.zoo.formats.name_maps import LAYOUTS, MAE
from mae.zoo.formats.wrapping import unwrap

Weights = dict[str, Tensor]

_OURS = 'encoder.patch_embed.proj.weight'
UNVERIFIED = 'VALUES NOT VERIFIED: no manifest, no published checksum, no hash in the name'


@dataclass(frozen=True)
class Translation:
    """A checkpoint in our names.

    Attributes:
        weights: a state dict in this toolbox's names.
        layout: the names that the file used.
        facts: metadata that shapes do not reveal, see `mae.zoo.formats.metadata`.
        notes: for the report of loading, a line each.
        architecture: None for weights of this toolbox, which may be of parts unknown here.
    """

    weights: Weights
    layout: Layout
    facts: Facts
    notes: list[str] = field(default_factory=list)
    architecture: Architecture | None = None


def detect(weights: Mapping[str, Tensor], path: object) -> Layout:
    """The layout that has most of the keys; ours if the encoder is where only we have it.

    A small detector has more weights in its neck and heads, unknown here, than in its encoder.

    Raises:
        CheckpointError: none has at least half of them.
    """
    if _OURS in weights:
        return MAE
    scores = [sum(map(layout.has_key, weights)) for layout in LAYOUTS]
    best = max(scores)
    if 2 * best <= len(weights):
        first = ', '.join(list(weights)[:3])
        known = ', '.join(layout.title for layout in LAYOUTS)
        raise CheckpointError(
            f'{path} is no ViT or MAE in any names known here ({known}): it starts with {first}'
        )
    return LAYOUTS[scores.index(best)]


def translate(checkpoint: Mapping[str, Any], path: Path, key: str | None = None) -> Translation:
    """Rename the weights of a checkpoint to our names.

    Args:
        checkpoint: content of a file, see `mae.fault_tolerance.checkpoint.read_raw`.
        path: its file: for messages, and to verify the hash that its name promises.
        key: dotted name of the weights to take where there are several, see `unwrap`.

    Raises:
        CheckpointError: it contains no weights or several models of equal rank, its names are of no
            known layout, some are not of the one that fits best, weights are missing or of shapes
            that do not go together, or it is not what its manifest or its name promises.
    """
    found = unwrap(checkpoint, path, key)
    weights, notes = found.weights, found.notes
    layout = detect(weights, path)
    architecture = None
    if layout is not MAE:
        weights, dropped = _to_ours(weights, layout, path)
        notes = [f'from {layout.title}', *notes, *(f'left out {why}' for why in dropped)]
        notes += _reshape_linear_patches(weights)
        architecture = architecture_of(weights, path)
        notes[0] += f': {architecture}'
    proof = checkpoint.get('proof') or check_name(path)
    if manifest := embedded_metadata(checkpoint)['manifest']:
        check_manifest(weights, manifest, path)
        proof = 'the manifest in it'
    notes.append(f'values verified by {proof}' if proof else UNVERIFIED)
    if bad := [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]:
        notes.append(f'NOT FINITE: {len(bad)} weights hold NaN or infinity, {bad[0]} first')
    return Translation(weights, layout, _stated(checkpoint, path), notes, architecture)


def load_weights(path: Path, proof: str = '', key: str | None = None) -> dict[str, Any]:
    """Read a model in any known format and wrapping: a file, or a folder of transformers.

    Args:
        path: a file, a folder, or the `index.json` of a sharded one.
        proof: how the caller has verified the file, in words; '' if it has not.
        key: dotted name of the weights to take where a file holds several models.

    Returns:
        The content, with the weights in our names under `state_dict`, what their shapes do not show
        under `facts`, and lines for the report under `notes`. Among the facts is the
        `architecture` in words, for messages, unless it has parts unknown here.

    Raises:
        CheckpointError: it cannot be read, or is not understood as a whole, or holds several
            models of equal rank.
    """
    checkpoint = read_raw(path)
    checkpoint['proof'] = proof or checkpoint['proof']
    found = translate(checkpoint, path, key)
    facts, architecture = dict(found.facts), found.architecture or _try_architecture(found, path)
    if architecture is not None:
        facts['architecture'] = str(architecture)
    return {**checkpoint, 'state_dict': found.weights, 'facts': facts, 'notes': found.notes}


def _try_architecture(found: Translation, path: Path) -> Architecture | None:
    try:
        return architecture_of(found.weights, path)
    except CheckpointError:
        return None


def _stated(checkpoint: Mapping[str, Any], path: Path) -> Facts:
    """The facts that came with a checkpoint, which anybody may have written.

    Raises:
        CheckpointError: they are none that a model can have.
    """
    try:
        facts = facts_of(checkpoint)
        check_facts(facts)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path} says what no model can be: {error}') from None
    return facts


def _to_ours(weights: Weights, layout: Layout, path: Path) -> tuple[Weights, list[str]]:
    """The weights in our names, and why some were dropped.

    A key that the layout does not know may be dropped if it is surely no part of a ViT, as a count
    of a metric is: it is in no module of the model, and no side of it is as long as a token.
    """
    whole: Weights = {}
    parts: dict[str, dict[int, Tensor]] = {}
    dropped: dict[str, None] = {}
    unknown, double = [], []
    tops = set()
    for key, value in weights.items():
        if why := layout.why_dropped(key):
            dropped[why] = None
            continue
        place = layout.place(key)
        if place is None:
            unknown.append(key)
            continue
        name, part = place
        tops.add(key.split('.')[0])
        if name in whole or part in parts.get(name, {}):
            double.append(f'{key} is there twice')
        elif part is None:
            whole[name] = value
        else:
            parts.setdefault(name, {})[part] = value
    widths = {v.shape[-1] for n, v in whole.items() if n.endswith('pos_embed') and v.ndim}
    wrong = double
    for key in unknown:
        if key.split('.')[0] in tops or widths & {*weights[key].shape}:
            wrong.append(f'{key} is unknown')
        else:
            dropped[f'{key}, which is no part of the model'] = None
    wrong += [f'{name} lacks a part' for name, found in parts.items() if len(found) < 3]
    if wrong := wrong + _uneven(parts):
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(
            f'{path} has the names of {layout.title}, but {"; ".join(wrong[:3])}{more}'
        )
    return whole | {name: join(found) for name, found in parts.items()}, list(dropped)


def _uneven(parts: Mapping[str, Mapping[int, Tensor]]) -> list[str]:
    return [
        f'queries, keys and values of {name} differ in shape'
        for name, found in parts.items()
        if len({value.shape for value in found.values()}) > 1
    ]


def _reshape_linear_patches(weights: Weights) -> list[str]:
    """A patch projection kept as a matrix, as old timm files have it, to our convolution."""
    name = 'encoder.patch_embed.proj.weight'
    matrix = weights.get(name)
    if matrix is None or matrix.ndim != 2:
        return []
    side = round((matrix.shape[1] / 3) ** 0.5)
    if 3 * side * side != matrix.shape[1]:
        return []  # the architecture is refused with its shape
    weights[name] = torch.reshape(matrix, (len(matrix), 3, side, side))
    return [f'{name} reshaped from a matrix, read as (channel, row, column) of 3 channels']
