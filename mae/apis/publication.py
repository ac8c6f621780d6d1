"""Weights to publish: without optimizer and run state, named by their hash, with a model card."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import mmengine
import torch

from mae.apis.suggest_config import matching_config
from mae.config import find_config, load_config
from mae.fault_tolerance.checkpoint import fit_weights, save_safetensors, unshared
from mae.registry import MODELS
from mae.utils.digest import file_digest
from mae.utils.errors import CheckpointError
from mae.utils.files import make_folder, whole_file
from mae.utils.package_files import package_path
from mae.zoo.cost import measure_cost
from mae.zoo.fetch import find_file
from mae.zoo.formats import load_weights, manifest_of
from mae.zoo.formats.architecture import Architecture, architecture_of
from mae.zoo.formats.card import metafile_entry, model_card
from mae.zoo.formats.metadata import KEY, facts_to_store

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
    source: str = 'not stated',
    metrics: Mapping[str, float] | None = None,
    suffix: str = '.safetensors',
) -> Publication:
    """Write `NAME-<first 8 digits of the SHA-256>` with a model card and a metafile entry.

    Args:
        checkpoint: that of a run of this toolbox, or any model that it can read: a path, a name of
            `list_models`, or an address.
        out_dir: created if missing.
        name: file name without hash and suffix.
        license_: an SPDX identifier such as 'Apache-2.0'.
        config: name or path of the config they were trained with, which they must fit; then the
            entry has all that an index asks for.
        source: who trained and publishes them.
        metrics: results by name, as `tools/test.py --out` writes them.
        suffix: '.safetensors' or '.pth'.

    Raises:
        CheckpointError: it cannot be read, is of another model than `config`, or a file of that
            name exists.
        ConfigError: there is no such config.
        ValueError: a wrong suffix, a name that is a path or empty, no licence, or a metric that is
            no finite number.
    """
    _check(name, suffix, license_, metrics)
    fetched, folder = find_file(checkpoint), Path(out_dir)
    path = fetched.path
    found = load_weights(path, fetched.proof)
    weights = unshared(found['state_dict'])
    model = _model_of(config, found, path) if config else {}
    model.setdefault('Parameters', sum(_count(key, value) for key, value in weights.items()))
    metadata = {'facts': facts_to_store(found['facts']), 'manifest': manifest_of(weights)}
    make_folder(folder)
    draft = folder / f'.{name}{suffix}'
    try:
        if suffix == '.safetensors':
            # One entry: safetensors writes several in any order, and the hash would be any too.
            save_safetensors(weights, draft, {KEY: json.dumps(metadata)})
        else:
            with whole_file(draft) as opened:
                torch.save({'meta': {KEY: metadata}, 'state_dict': weights}, opened)
        sha256 = file_digest(draft)
        file = folder / f'{name}-{sha256[:8]}{suffix}'
        done = Publication(file, file.with_suffix('.md'), file.with_suffix('.yml'))
        for made in (done.weights, done.card, done.metafile):
            if made.exists():
                raise CheckpointError(f'{made} exists; remove it or give another name')
        entry = metafile_entry(
            file,
            sha256,
            model=model,
            config=_place(config) if config else None,
            license_=license_,
            source=source,
            metrics=metrics or {},
            meta=found.get('meta', {}),
        )
        card = model_card(entry, _architecture(weights, path), metadata['facts'], config)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    mmengine.dump({'Models': [entry]}, done.metafile, sort_keys=False)
    done.card.write_text(card, encoding='utf-8')
    return done


def _check(name: str, suffix: str, license_: str, metrics: Mapping[str, float] | None) -> None:
    if suffix not in SUFFIXES:
        raise ValueError(f'the suffix is {" or ".join(SUFFIXES)}, not {suffix!r}')
    if not re.fullmatch(r'\w[\w.+=@ -]{0,99}', str(name)):
        raise ValueError(
            'a name without folders, of up to 100 letters, digits, dots, dashes and the like, the '
            f'first a letter or digit, not {name!r}'
        )
    if not license_ or not str(license_).strip():
        raise ValueError("say which licence the weights have, such as 'Apache-2.0'")
    if not isinstance(metrics or {}, Mapping):
        raise ValueError(f'metrics are numbers by name, not a {type(metrics).__name__}')
    for key, value in (metrics or {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError(f'a metric is a number, which {key} is not: {value!r}')


def _model_of(config: str, found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Metafile entry of the model, after checking that the weights fit its config.

    Raises:
        CheckpointError: they are of another model.
    """
    loaded, weights = load_config(config), found['state_dict']
    exact = not all(name.startswith('encoder.') for name in weights)
    report = fit_weights(
        MODELS.build(loaded.model),
        weights,
        path,
        exact=exact,
        facts=found['facts'],
        suggest=matching_config,
    )
    if report.adapted:
        raise CheckpointError(f'{path} is not of {config}: {report.adapted[0]}')
    with torch.device('meta'):
        cost = measure_cost(MODELS.build(loaded.model))
    facts = {'Parameters': cost.parameters, 'FLOPs': cost.flops}
    facts |= {'Training FLOPs': cost.training_flops}
    return {**facts, 'Holds': 'encoder'} if report.missing else facts


def _place(config: str) -> str:
    """Where an index finds a config: in its own folder, if the config is shipped."""
    path, root = find_config(config).resolve(), package_path('configs')
    if root is not None and path.is_relative_to(root.resolve()):
        return str(path.relative_to(root.resolve().parent))
    return str(path)


def _count(name: str, value: torch.Tensor) -> int:
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    return 0 if name.endswith(buffers) else value.numel()


def _architecture(weights: Mapping[str, torch.Tensor], path: Path) -> Architecture | None:
    try:
        return architecture_of(weights, path)
    except CheckpointError:  # parts that only their config knows
        return None
