"""What files, tensors and weights hash to: one way each, for all that is compared."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

_PIECE = 1 << 20  # bytes read at a time


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def file_digest(path: Path, algorithm: str = 'sha256') -> str:
    """Hexadecimal digest of a file.

    Raises:
        OSError: it cannot be read.
    """
    state = hashlib.new(algorithm, usedforsecurity=False)  # MD5 is for damage alone
    with path.open('rb') as file:
        while piece := file.read(_PIECE):
            state.update(piece)
    return state.hexdigest()


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes, the same on any device."""
    state = hashlib.sha256()
    _add(state, tensor)
    return state.hexdigest()


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of each weight, in the order of the names.

    Equal for equal weights on any device and however they are stored. Of a sharded model each is
    made whole in its turn, so all processes must call this.
    """
    state = hashlib.sha256()
    for name in sorted(weights):
        _add(state, weights[name], f'{name} ', '\n')
    return state.hexdigest()


def _add(state: _Hash, tensor: Tensor, before: str = '', after: str = '') -> None:
    from mae.utils.sharded import full  # late: the launcher hashes files alone, and needs no FSDP

    plain = full(tensor.detach()).cpu().contiguous()
    state.update(f'{before}{plain.dtype} {tuple(plain.shape)}{after}'.encode())
    state.update(plain.reshape(-1).view(torch.uint8).numpy().data)
