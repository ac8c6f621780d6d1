"""Which tensors a sharded checkpoint holds, and where: torch's `.metadata`, read without its code.

torch reads the file with a bare `pickle.load` (`filesystem.py` of `torch.distributed.checkpoint`,
2.14.1), which runs what a downloaded folder asks for. Here the pickle yields nothing but records of
what it says; names, sizes and places in them are checked, and torch's classes are built from these.
"""

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from mae.fault_tolerance.checkpoint.safe_pickle import PLACEHOLDERS, Refused
from mae.utils.errors import CheckpointError
from mae.utils.text import first_line

METADATA = '.metadata'
_DCP = 'torch.distributed.checkpoint.'
_BYTES = 'BytesStorageMetadata'
_RECORDS = frozenset({
    *(f'{_DCP}metadata.{name}' for name in (
        'Metadata', 'TensorStorageMetadata', 'ChunkStorageMetadata', 'TensorProperties',
        '_MEM_FORMAT_ENCODING', 'MetadataIndex', 'StorageMeta', _BYTES)),
    f'{_DCP}filesystem._StorageInfo',
    'torch.serialization._get_layout',
    *(name for name in PLACEHOLDERS if name.startswith('pathlib.')),
})  # fmt: skip


def read_shard_index(folder: Path) -> Metadata:
    """Read and check the `.metadata` of a folder.

    Every tensor must be there as a whole, cut along its first dimension, in files of the folder
    that are large enough for it.

    Raises:
        Refused: it asks to run code, or holds other objects than tensors, which torch unpickles.
        CheckpointError: it is missing, damaged, or describes what the files cannot hold.
    """
    path = folder / METADATA
    try:
        with path.open('rb') as file:
            record = _Unpickler(file).load()
        return _metadata(record, _sizes(folder))
    except Refused as error:
        raise Refused(f'{path} refused: {error}, and weights need no code') from None
    except FileNotFoundError:
        raise CheckpointError(
            f'{folder} is no sharded checkpoint: it has no {METADATA}, which is written last'
        ) from None
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None
    except Exception as error:  # a damaged pickle raises anything
        raise CheckpointError(f'{path} is not readable: {first_line(error)}') from None


class _Record:
    """What a pickle says of one object."""

    state: Any = None

    def __new__(cls, *args: object) -> '_Record':
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __getitem__(self, name: str) -> Any:
        return self.state[name]


class _Member(_Record):
    """In the place of `getattr`, by which Python 3.11.0 to 3.11.3 pickles the member of an enum."""

    def __new__(cls, kind: object, name: object) -> '_Member':
        if not (isinstance(kind, type) and issubclass(kind, _Record)):
            raise Refused(f'it asks to run getattr for {name!r}')
        return object.__new__(cls)


class _Unpickler(pickle.Unpickler):
    """Knows the names of the classes in a `.metadata`, and calls none of them."""

    def find_class(self, module: str, name: str) -> Any:
        full = f'{module}.{name}'
        if full in _RECORDS:
            return type(name, (_Record,), {})  # a pickle can change a class: this one is its own
        if full == 'torch.Size':
            return tuple
        if full == 'builtins.getattr':
            return type(name, (_Member,), {})
        found = getattr(torch, name, None) if module == 'torch' else None
        if isinstance(found, torch.dtype):
            return found
        raise Refused(f'it asks to run {full}')


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


def _metadata(record: Any, sizes: Mapping[str, int]) -> Metadata:
    places = {}
    for key, info in record['storage_data'].items():
        file, start, length = info['relative_path'], _count(info['offset']), _count(info['length'])
        if file not in sizes:
            raise ValueError(f'it names {file!r}, which is no file of the folder')
        if start + length > sizes[file]:
            raise ValueError(f'it names {start + length} bytes of {file}, which has {sizes[file]}')
        if info.state.get('transform_descriptors'):
            raise Refused(f'it asks to run an extension of torch on {file}')
        places[key['fqn'], _shape(key['offset'])] = _StorageInfo(file, start, length)
    tensors = {_name(k): _tensor(k, v, places) for k, v in record['state_dict_metadata'].items()}
    if sum(map(_bytes, tensors.values())) > sum(sizes.values()):
        raise ValueError('its tensors are larger than the files of the folder')
    stored = {
        MetadataIndex(name, chunk.offsets): places[name, tuple(chunk.offsets)]
        for name, tensor in tensors.items()
        for chunk in tensor.chunks
    }
    return Metadata({**tensors}, storage_data=stored)


def _tensor(name: str, record: Any, places: Mapping[Any, _StorageInfo]) -> TensorStorageMetadata:
    if type(record).__name__ == _BYTES:
        raise Refused(f'it asks to unpickle {name}, which is no tensor')
    size, dtype = _shape(record['size']), record['properties'].state[0]
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f'{name} has no type of numbers')
    chunks = [
        ChunkStorageMetadata(torch.Size(_shape(c['offsets'])), torch.Size(_shape(c['sizes'])))
        for c in record['chunks']
    ]
    if not _covers(size, chunks):
        raise ValueError(f'{name} is not there as a whole')
    for chunk in chunks:
        if places[name, tuple(chunk.offsets)].length < math.prod(chunk.sizes) * dtype.itemsize:
            raise ValueError(f'{name} is longer than its place in the file')
    return TensorStorageMetadata(TensorProperties(dtype), torch.Size(size), chunks)


def _covers(size: tuple[int, ...], chunks: list[ChunkStorageMetadata]) -> bool:
    """Whether the chunks are the whole tensor, one after the other along the first dimension."""
    if not size:
        return [(*c.offsets, *c.sizes) for c in chunks] == [()]
    end = 0
    for chunk in sorted(chunks, key=lambda c: (c.offsets[0], c.sizes[0])):
        rest = (*chunk.offsets[1:], *chunk.sizes[1:])
        is_empty = not chunk.sizes[0]
        if not is_empty and rest != (*(0 for _ in size[1:]), *size[1:]):
            return False
        if len(chunk.offsets) != len(size) or (not is_empty and chunk.offsets[0] != end):
            return False
        end += chunk.sizes[0]
    return end == size[0]


def _bytes(tensor: TensorStorageMetadata) -> int:
    return math.prod(tensor.size) * tensor.properties.dtype.itemsize


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{value!r} is no name of a tensor')
    return value


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple | list):
        raise TypeError(f'{value!r} is no shape')
    return tuple(map(_count, value))


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f'{value!r} is no size')
    return value
