"""What goes with published weights: a model card in Markdown and an entry of a metafile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mae.zoo.formats.architecture import Architecture
from mae.zoo.formats.metadata import Facts
from mae.zoo.formats.training import start_rows


def metafile_entry(
    file: Path,
    sha256: str,
    *,
    model: Mapping[str, Any],
    config: str | None,
    license_: str,
    source: str,
    metrics: Mapping[str, float],
    meta: Mapping[str, Any],
) -> dict[str, Any]:
    """An entry of `Models` in a `metafile.yml`.

    Args:
        file: path of the weights; its name is a placeholder for the address.
        sha256: of the file, 64 hexadecimal digits.
        model: `Parameters`, and of a known model `FLOPs`, `Training FLOPs` and `Holds`.
        config: path of the config they were trained with.
        license_: SPDX identifier of the weights' licence.
        source: who trained and publishes them.
        metrics: measured values by name.
        meta: the checkpoint's metadata, with `step`, `versions` and `started_from`.
    """
    metadata: dict[str, Any] = {
        **model,
        'License': license_,
        'Source': source,
        'Checksum': f'sha256:{sha256}',
    }
    if 'step' in meta:
        metadata['Iterations'] = meta['step']
    if versions := meta.get('versions'):
        metadata['Versions'] = dict(versions)
    if start := start_rows(meta):
        metadata['Start'] = start
    results = [{'Task': 'as tested', 'Metrics': dict(metrics)}] if metrics else None
    return {
        'Name': file.stem,
        'Metadata': metadata,
        'Results': results,
        'Weights': file.name,
        'Config': config,
    }


def model_card(
    entry: Mapping[str, Any], found: Architecture | None, facts: Facts, config: str | None
) -> str:
    """A model card that states what is known and no more."""
    meta = entry['Metadata']
    rows = {
        'model': found or 'parts of its own, see the config',
        'parameters': f'{meta["Parameters"]:,}',
        'config': f'`{config}`' if config else 'not stated',
        'iterations': meta.get('Iterations', 'not stated'),
        **meta.get('Start', {}),
        'source': meta['Source'],
        'licence': meta['License'],
        'SHA-256': f'`{meta["Checksum"].removeprefix("sha256:")}`',
        **{name.replace('_', ' '): value for name, value in facts.items() if name != 'classes'},
    }
    if classes := facts.get('classes'):
        rows['classes'] = f'{len(classes)}: {", ".join(classes[:10])}' + ', ...' * (
            len(classes) > 10
        )
    lines = [f'# {entry["Name"]}', '', '| | |', '|---|---|']
    lines += [f'| {name} | {value} |' for name, value in rows.items()]
    lines += ['', '## Results', '']
    if entry['Results']:
        lines += ['| metric | value |', '|---|---|']
        lines += [f'| {name} | {v:g} |' for name, v in entry['Results'][0]['Metrics'].items()]
    else:
        lines += ['Not measured yet.']
    lines += [
        '',
        '## Use',
        '',
        '```python',
        'from mae.apis import init_model',
        '',
        f'model = init_model({config or "CONFIG"!r}, {entry["Weights"]!r})',
        '```',
        '',
        f'For other libraries: `mae zoo convert {entry["Weights"]} OUT --to '
        'timm`, or `transformers`, `mmpretrain`, `fair`.',
    ]
    return '\n'.join(lines) + '\n'
