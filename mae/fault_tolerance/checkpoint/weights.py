"""Weights of files and folders by the names in them; and writing of safetensors files.

`mae.zoo.formats.load_weights` translates the names of all known formats into ours.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mae.fault_tolerance.checkpoint.io import (
    Checkpoint,
    is_safetensors,
    read_checkpoint,
    weights_of,
)
from mae.fault_tolerance.checkpoint.sharded_load import is_sharded_checkpoint, load_sharded
from mae.utils.errors import CheckpointError
from mae.utils.files import whole_file

# Weight files in a folder of transformers, in the order in which it looks for them.
_FILES = ('model.safetensors', 'pytorch_model.bin')
_OF_FOLDERS = ('config', 'processor', 'metadata')


def read_model(path: Path) -> Checkpoint:
    """Like `load_checkpoint`, also for folders of transformers and those of several processes.

    Returns:
        The content, with `metadata` of a safetensors file and `config` of a folder.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
    """
    checkpoint = read_raw(path)
    return {**checkpoint, 'state_dict': weights_of(checkpoint, path)}


def read_raw(path: Path) -> Checkpoint:
    """`read_model` with the weights where the file has them."""
    if is_sharded_checkpoint(path):
        return load_sharded(path, only='state_dict')
    if path.is_dir():
        return _read_folder(path)
    if path.name in [f'{name}.index.json' for name in _FILES]:
        return _read_folder(path.parent)
    # A training script may store anything as `config`; here it is only the file of a folder.
    checkpoint = {k: v for k, v in read_checkpoint(path).items() if k not in _OF_FOLDERS}
    if is_safetensors(path):
        from safetensors import safe_open

        with safe_open(path, framework='pt') as file:
            checkpoint['metadata'] = file.metadata() or {}
    return checkpoint


def save_safetensors(weights: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write weights as a safetensors file, whole or not at all.

    Args:
        weights: those that share memory are written separately.
        metadata: stored in the header.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    from safetensors.torch import save

    content = save(unshared(weights), metadata)
    with whole_file(path) as file:
        file.write(content)


def unshared(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights, contiguous, each with memory of exactly its size and no other's.

    safetensors refuses tied weights, which share memory; and a `.pth` with a view into a larger
    tensor holds all of that tensor.
    """
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        tensor = value.detach().contiguous()
        memory = tensor.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() > tensor.numel() * tensor.element_size():
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        own[name] = tensor
    return own


def _read_folder(folder: Path) -> Checkpoint:
    """A folder as transformers writes it: `config.json` and one or several weight files."""
    config = _read_json(folder / 'config.json')
    processor = folder / 'preprocessor_config.json'
    files = _files_of(folder)
    shards = [read_model(file) for file in files]
    weights = {key: value for shard in shards for key, value in shard['state_dict'].items()}
    return {
        'metadata': shards[0].get('metadata', {}),
        'state_dict': weights,
        'config': config,
        'processor': _read_json(processor) if processor.is_file() else {},
        'proof': shards[0]['proof'] if all(shard['proof'] for shard in shards) else '',
    }


def _files_of(folder: Path) -> list[Path]:
    """The weight files of a folder: one, or the shards that an index lists.

    Raises:
        CheckpointError: there is none, or a shard is missing.
    """
    for name in _FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f'{name}.index.json'
        if not index.is_file():
            continue
        listed = _read_json(index).get('weight_map')
        if not isinstance(listed, dict) or not listed:
            raise CheckpointError(f'{index} lists no files: it has no weight_map')
        files = [folder / Path(str(file)).name for file in sorted(set(map(str, listed.values())))]
        if absent := [file.name for file in files if not file.is_file()]:
            raise CheckpointError(
                f'{folder} is not whole: {absent[0]} is missing, one of {len(files)} files that '
                f'{index.name} lists'
            )
        return files
    raise CheckpointError(
        f'{folder} holds neither {" nor ".join(_FILES)}, nor the index of one in parts: give the '
        'path of a weight file, or of a folder that transformers wrote'
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise CheckpointError(
            f'{path.parent} is no folder of transformers: no {path.name}; give the path of a file'
        ) from None
    except ValueError as error:
        raise CheckpointError(f'{path} is not readable JSON: {error}') from None
    if not isinstance(value, dict):
        raise CheckpointError(f'{path} holds a {type(value).__name__}, not an object')
    return value
