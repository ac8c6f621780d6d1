"""Weights from one format to another, and weights to publish."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mae.apis.images import decoded_bits, short_side
from mae.config import load_config
from mae.fault_tolerance.checkpoint import (
    is_sharded_checkpoint,
    load_sharded,
    save_checkpoint,
    save_safetensors,
    unshared,
)
from mae.utils.errors import CheckpointError
from mae.utils.files import lowest_existing, make_folder, whole_folder, write_json, write_text
from mae.zoo.fetch import find_file
from mae.zoo.formats import (
    BY_NAME,
    ExportedWeights,
    export_weights,
    facts_of_config,
    load_weights,
    resize,
)
from mae.zoo.formats.folder import CARD, WEIGHTS, HubFolder, hub_folder
from mae.zoo.formats.metadata import KEY, check_facts, embedded_metadata
from mae.zoo.formats.plain import is_dense, plain_encoder
from mae.zoo.formats.training import Training, stored_training, training_of
from mae.zoo.index import find_entry

SUFFIXES = ('.safetensors', '.pth')
_PIXELS = ('mean', 'std')


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote.

    Attributes:
        out: path of the file or folder.
        lines: the report: what was read, adapted, left out and written.
    """

    out: Path
    lines: list[str]


def convert(
    source: str | Path,
    out: str | Path,
    to: str | None,
    *,
    config: str | Path | None = None,
    facts: Mapping[str, Any] | None = None,
    encoder_only: bool = False,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | None = None,
    in_channels: int | None = None,
    key: str | None = None,
    pos_antialias: bool = True,
    as_plain_vit: bool = False,
) -> Conversion:
    """Read a model in any known format, fit it if asked to, and write it in another.

    Args:
        source: file, folder of transformers, name of `list_models`, or address.
        out: `.safetensors` or `.pth` file; for transformers a folder; for timm either. It must not
            exist. A folder has the config of the other library, by which images become inputs as
            they do here, and a model card, and can be pushed to the Hub.
        to: 'mae', 'fair', 'timm', 'transformers', 'mmpretrain' or 'lightly'; None: all of a folder
            that several processes wrote, as one `.pth` from which a run resumes.
        config: name or path, for what shapes do not show, such as the number of heads.
        facts: metadata by name, in place of what config and file say; None removes an entry.
        encoder_only: leave out decoder and head.
        img_size: (height, width) in pixels to fit the positions to, or one number for both.
        patch_size: side in pixels to fit the patch projection to.
        in_channels: number of channels to fit the patch projection to.
        key: dotted name of the weights to take where the source holds several models: names of
            dicts and prefixes, such as 'teacher' or 'state_dict_ema'.
        pos_antialias: resample positions as timm does; False as the authors do.
        as_plain_vit: of a segmenter or detector, drop trained relative positions and windows,
            which the other libraries' ViTs lack.

    Returns:
        What was written, with the report.

    Raises:
        CheckpointError: a part of the source is unknown, `to` cannot hold it, or `out`
            has a wrong name or exists.
        ConfigError: the config says something impossible.
        DownloadError: the source cannot be fetched.
        ValueError: it cannot be fitted to the sizes asked for.
    """
    out = Path(out)
    if to is None and is_sharded_checkpoint(Path(source)):
        return _join(Path(source), out)
    if not isinstance(to, str) or to not in BY_NAME:
        raise ValueError(f'no format {to!r}; known: {", ".join(BY_NAME)}')
    _check_out(out, to)
    facts = _checked_facts(facts)
    fetched = find_file(source)
    source = fetched.path
    found = load_weights(source, fetched.proof, key)
    weights, lines = found['state_dict'], list(found['notes'])
    changes: list[str] = []
    known = dict(found['facts'])
    if config is not None:
        known |= facts_of_config(load_config(config).model)
    known = {name: v for name, v in {**known, **facts}.items() if v is not None}
    if encoder_only:
        dropped = sorted({name.split('.')[0] for name in weights if not _of_encoder(name)})
        weights = {name: value for name, value in weights.items() if _of_encoder(name)}
        changes += [f'left out the {name}, as asked' for name in dropped]
    if is_dense(weights, known):
        weights, known, dropped = plain_encoder(weights, known, source, as_plain_vit=as_plain_vit)
        changes += dropped
    elif as_plain_vit:
        lines.append('as_plain_vit has no effect: these are no weights of a segmenter or detector')
    weights, known, resized = resize(
        weights,
        known,
        source,
        img_size=img_size,
        patch_size=patch_size,
        in_channels=in_channels,
        pos_antialias=pos_antialias,
    )
    exported = export_weights(weights, BY_NAME[to], known, source)
    overrides = config, img_size, patch_size, in_channels, *map(facts.get, _PIXELS)
    processor = found.get('processor') if all(value is None for value in overrides) else None
    folder = None
    taken = [f'took {key}, of all weights in the file'] if key else []
    training = _training_of(found, source, config, [*taken, *changes, *resized])
    if stored := training.stored():
        exported = replace(exported, metadata={**exported.metadata, 'training': stored})
    if _is_folder(out, to):
        folder = hub_folder(exported, out.name, short_side, training, processor)
    write_weights(exported, out, folder)
    beside = folder.notes if folder else ()
    return Conversion(out, [*lines, *changes, *resized, *exported.notes, *beside])


def write_weights(exported: ExportedWeights, out: Path, folder: HubFolder | None = None) -> None:
    """Write exported weights, whole or not at all.

    Args:
        out: path of a file, or of a folder.
        folder: what goes beside the weights; None writes a file.

    Raises:
        OSError: the disk refused.
    """
    metadata = {KEY: json.dumps(exported.metadata)}
    exported = replace(exported, weights=unshared(exported.weights))
    if folder is not None:
        _write_folder(exported.weights, folder, out, {'format': 'pt', **metadata})
        return
    make_folder(out.parent)
    if out.suffix == '.safetensors':
        save_safetensors(exported.weights, out, metadata)
    else:
        save_checkpoint(exported.checkpoint(), out)


def _training_of(
    found: Mapping[str, Any], source: Path, config: str | Path | None, changes: Sequence[str]
) -> Training:
    """What is known of the training: from the checkpoint, and of published weights the index."""
    meta, entry = found.get('meta'), find_entry(source.name)
    stated = meta.get('cfg') if isinstance(meta, Mapping) else None
    try:
        bits = decoded_bits(load_config(config) if config is not None else stated or {})
    except (AttributeError, TypeError, ValueError):  # a checkpoint may state anything
        bits = 8
    if stored := embedded_metadata(found)['training']:
        known = stored_training(stored, changes)
        return known if config is None else replace(known, bits=bits)
    if entry is None or entry.file != source.name:
        return training_of(meta, bits=bits, changes=changes)
    published = {'license_': entry.license, 'source': entry.source}
    return training_of(meta, bits=bits, changes=changes, **published)


def _join(source: Path, out: Path) -> Conversion:
    """Write all of a checkpoint of several processes as one file."""
    if out.suffix != '.pth':
        raise CheckpointError(f'{out} must end in .pth')
    _check_out(out, 'mae')
    checkpoint = load_sharded(source)
    proof = checkpoint.pop('proof')
    save_checkpoint(checkpoint, out)
    step = checkpoint.get('meta', {}).get('step')
    return Conversion(out, [f'step {step}, values verified by {proof}'])


def _write_folder(
    weights: Mapping[str, Tensor], beside: HubFolder, out: Path, metadata: dict[str, str]
) -> None:
    with whole_folder(out) as folder:
        save_safetensors(weights, folder / WEIGHTS, metadata)
        for name, content in beside.files.items():
            write_json(folder / name, content)
        write_text(folder / CARD, beside.card)


def _check_out(out: Path, to: str) -> None:
    if out.exists():
        raise CheckpointError(f'{out} exists; give another name or remove it')
    above = lowest_existing(out.absolute().parent)
    if not above.is_dir():
        raise CheckpointError(f'{out} cannot be written: {above} is no folder')
    if to == 'transformers' and out.suffix in SUFFIXES:
        raise CheckpointError(f'transformers reads a folder, not a file: {out}')
    if not _is_folder(out, to) and out.suffix not in SUFFIXES:
        folder = ', or be a folder without a dot in its name' if to == 'timm' else ''
        raise CheckpointError(f'{out} must end in {" or ".join(SUFFIXES)}{folder}')


def _is_folder(out: Path, to: str) -> bool:
    return to == 'transformers' or (to == 'timm' and not out.suffix)


def _of_encoder(name: str) -> bool:
    return name.startswith('encoder.')


def _checked_facts(facts: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """`facts` of the caller, checked; one number may stand for the only channel."""
    if isinstance(facts, Mapping):
        alone = {name for name in _PIXELS if isinstance(facts.get(name), int | float)}
        facts = {name: [value] if name in alone else value for name, value in facts.items()}
    check_facts({} if facts is None else facts)
    return facts or {}
