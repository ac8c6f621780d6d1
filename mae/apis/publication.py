"""Weights to give away: without the state of their run, named by their hash, with a card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mmengine
import torch

from mae.engine.checkpoint import load_weights, save_checkpoint, save_safetensors
from mae.utils.errors import CheckpointError
from mae.utils.files import file_sha256
from mae.zoo.formats import manifest_of
from mae.zoo.formats.architecture import Architecture, architecture_of
from mae.zoo.formats.card import metafile_entry, model_card
from mae.zoo.formats.facts import KEY, lasting

SUFFIXES = ('.safetensors', '.pth')


@dataclass(frozen=True)
class Publication:
    """The files that `publish` wrote."""

    weights: Path
    card: Path
    metafile: Path


def publish(
    checkpoint: str | Path,
    out_dir: str | Path,
    name: str,
    *,
    license_: str,
    config: str | None = None,
    metrics: Mapping[str, float] | None = None,
    suffix: str = '.safetensors',
) -> Publication:
    """Write `NAME-<first 8 digits of the SHA-256>` with a model card and a metafile entry.

    Args:
        checkpoint: of a run of this toolbox, or any model that it can read.
        out_dir: folder, made if need be.
        name: without suffix.
        license_: of the weights, such as 'Apache-2.0'.
        config: name of the config they were trained with.
        metrics: measured, by name, as `tools/test.py --out` writes them.
        suffix: '.safetensors' or '.pth'.

    Raises:
        CheckpointError: it cannot be read, or a file of that name exists.
        ValueError: a wrong suffix, or a name that is a path.
    """
    if suffix not in SUFFIXES or Path(name).name != name:
        raise ValueError(f'a name without folders, and {" or ".join(SUFFIXES)}: {name}, {suffix}')
    source, folder = Path(checkpoint), Path(out_dir)
    found = load_weights(source)
    weights = {key: value.contiguous() for key, value in found['state_dict'].items()}
    meta = found.get('meta', {})
    passport = {'facts': lasting(found['facts']), 'manifest': manifest_of(weights)}
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f'.{name}{suffix}'
    try:
        if suffix == '.safetensors':
            # One entry: safetensors writes several in any order, and the hash would be any too.
            save_safetensors(weights, draft, {KEY: json.dumps(passport)})
        else:
            save_checkpoint({'meta': {KEY: passport}, 'state_dict': weights}, draft)
        sha256 = file_sha256(draft)
        file = folder / f'{name}-{sha256[:8]}{suffix}'
        done = Publication(file, file.with_suffix('.md'), file.with_suffix('.yml'))
        for path in (done.weights, done.card, done.metafile):
            if path.exists():
                raise CheckpointError(f'{path} exists; remove it or give another name')
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    entry = metafile_entry(
        file,
        sha256,
        parameters=sum(_count(key, value) for key, value in weights.items()),
        config=config,
        license_=license_,
        metrics=metrics or {},
        meta=meta,
    )
    mmengine.dump({'Models': [entry]}, done.metafile, sort_keys=False)
    card = model_card(entry, _architecture(weights, source), passport['facts'])
    done.card.write_text(card, encoding='utf-8')
    return done


def _count(name: str, value: torch.Tensor) -> int:
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    return 0 if name.endswith(buffers) else value.numel()


def _architecture(weights: Mapping[str, torch.Tensor], path: Path) -> Architecture | None:
    try:
        return architecture_of(weights, path)
    except CheckpointError:  # parts that only their config knows
        return None
