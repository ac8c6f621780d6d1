"""Checkpoint files: plain values, written whole or not at all, read without running code."""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.utils.errors import CheckpointError

Checkpoint = dict[str, Any]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then give it its name.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(descriptor, 'wb') as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pth` of tensors and plain values, or a `.safetensors` file, onto the CPU.

    Returns:
        What the file holds, with the weights under `state_dict` wherever they were.

    Raises:
        CheckpointError: there is no such file, it is damaged, it asks to run code, or it holds no
            weights.
    """
    if not path.is_file():
        raise CheckpointError(f'no such checkpoint: {path}')
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {'state_dict': load_file(path)}
        except SafetensorError as error:
            raise CheckpointError(f'{path} is not a readable safetensors file: {error}') from None
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f'{path} is not a readable checkpoint: {reason}') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, not a dict of weights')
    return {**checkpoint, 'state_dict': _weights(checkpoint, path)}


def _weights(checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, which may lie at the top or under a usual name."""
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not weights:
        raise CheckpointError(f'{path} holds no weights')
    return weights


def _refusal(path: Path, error: Exception) -> str:
    words = str(error).split('GLOBAL ')
    if len(words) > 1:
        return f'{path} refused: it asks to run {words[1].split()[0]}, and weights need no code'
    return f'{path} is not a readable checkpoint, or asks to run code'
