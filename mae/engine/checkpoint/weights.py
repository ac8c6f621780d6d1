"""Weights of any known format, in our names; and weights as safetensors files.

Which formats are known is `mae.zoo`'s to say: the engine asks for its translator by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mae.engine.checkpoint.io import Checkpoint, is_safetensors, load_checkpoint
from mae.registry import FUNCTIONS
from mae.utils.errors import CheckpointError
from mae.utils.files import whole_file


def load_weights(path: Path, proof: str = '') -> Checkpoint:
    """Read a model in any known format: a file, or a folder of transformers.

    Args:
        path: of it.
        proof: what the caller has already held the file to, in words.

    Returns:
        What is there, with the weights in our names under `state_dict`, what they do not tell
        under `facts`, and lines for the report under `notes`.

    Raises:
        CheckpointError: it cannot be read, or is not understood as a whole.
    """
    translate = FUNCTIONS.get('translate_weights')
    assert translate is not None
    checkpoint = read_model(path)
    checkpoint['proof'] = proof or checkpoint['proof']
    translated: Checkpoint = translate(checkpoint, path)
    return translated


def read_model(path: Path) -> Checkpoint:
    """Like `load_checkpoint`, in the file's own names; also folders, and metadata of safetensors.

    Returns:
        What the file holds, with `metadata` of a safetensors file and `config` of a folder.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
    """
    if path.is_dir():
        return _read_folder(path)
    checkpoint = load_checkpoint(path)
    if is_safetensors(path):
        from safetensors import safe_open

        with safe_open(path, framework='pt') as file:
            checkpoint['metadata'] = file.metadata() or {}
    return checkpoint


def save_safetensors(weights: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write weights as a safetensors file, whole or not at all.

    Args:
        weights: by name, none sharing memory with another.
        path: of the file.
        metadata: kept in its header.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    from safetensors.torch import save

    content = save({name: value.contiguous() for name, value in weights.items()}, metadata)
    with whole_file(path) as file:
        file.write(content)


def _read_folder(folder: Path) -> Checkpoint:
    """A folder as transformers writes it: `config.json` and one or several weight files."""
    config = _read_json(folder / 'config.json')
    index = next(folder.glob('model.safetensors.index.json'), None)
    if index is not None:
        names = sorted(set(_read_json(index).get('weight_map', {}).values()))
    else:
        known = ('model.safetensors', 'pytorch_model.bin')
        names = [name for name in known if (folder / name).is_file()][:1]
    if not names:
        raise CheckpointError(
            f'{folder} holds neither model.safetensors nor pytorch_model.bin: give the path of a '
            'weight file, or of a folder that transformers wrote'
        )
    shards = [read_model(folder / Path(name).name) for name in names]
    weights = {key: value for shard in shards for key, value in shard['state_dict'].items()}
    proof = shards[0]['proof'] if all(shard['proof'] for shard in shards) else ''
    return {**shards[0], 'state_dict': weights, 'config': config, 'proof': proof}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise CheckpointError(
            f'{path.parent} is no folder of transformers: no {path.name}'
        ) from None
    except ValueError as error:
        raise CheckpointError(f'{path} is not readable JSON: {error}') from None
    if not isinstance(value, dict):
        raise CheckpointError(f'{path} holds a {type(value).__name__}, not an object')
    return value
