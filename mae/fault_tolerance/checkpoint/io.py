"""Reading checkpoint files: plain values only, and nothing in them is run."""

import io
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.fault_tolerance.checkpoint.manifest import Unverifiable, verify
from mae.fault_tolerance.checkpoint.safe_pickle import (
    Refused,
    check_growth,
    check_pickle,
    placeholder_globals,
)
from mae.utils.errors import CheckpointError
from mae.utils.files import file_sha256
from mae.utils.text import first_line
from mae.utils.trust import FLAG, is_trusted, trusts_any

Checkpoint = dict[str, Any]

MANIFEST = 'the manifest beside it'


def load_checkpoint(path: Path, *, verified: bool = False) -> Checkpoint:
    """Read a file of torch, of tensors and plain values, or of safetensors onto the CPU.

    A file that has a manifest is compared with it first. What it asks to run is refused by name,
    except for a file that the user trusts by its SHA-256 (`mae.utils.trust`).

    Args:
        path: of the file.
        verified: it has just been compared with its manifest.

    Returns:
        What the file holds, with the weights under `state_dict`, also those of `model` or of the
        top, and what proves their values under `proof`, '' for nothing. Bookkeeping objects of
        mmengine become `Placeholder` ones that hold nothing.

    Raises:
        CheckpointError: there is no such file, it is damaged, it asks to run code, or it holds no
            weights.
    """
    checkpoint = read_file(path, verified=verified)
    return {**checkpoint, 'state_dict': weights_of(checkpoint, path)}


def read_file(path: Path, *, verified: bool = False) -> Checkpoint:
    """`load_checkpoint` without its last step: the content as it lies in the file, and `proof`."""
    if not path.is_file():
        raise CheckpointError(f'no such checkpoint: {path}')
    try:
        proof = MANIFEST if verified or _verify_if_possible(path) else ''
        if not path.stat().st_size:
            raise CheckpointError(f'{path} is empty')
        if is_safetensors(path):
            return {'state_dict': _read_safetensors(path), 'proof': proof}
        checkpoint = _read_trusted(path) if trusts_any() else None
        if checkpoint is None:
            checkpoint = _read_plain(path)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}') from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, not a dict of weights')
    # One stored number can stand for all of a tensor.
    check_growth(path, sum(t.numel() * t.element_size() for t in _tensors(checkpoint)))
    return {**checkpoint, 'proof': proof}


def is_safetensors(path: Path) -> bool:
    """What a file is by its content: many call either kind `.bin`; by its name if it is neither.

    Raises:
        OSError: it cannot be read.
    """
    with path.open('rb') as file:
        start = file.read(9)
    if start[8:] == b'{' and int.from_bytes(start[:8], 'little') < path.stat().st_size:
        return True  # JSON after its length
    is_torch = start.startswith((b'PK\x03\x04', b'\x80'))  # a zip archive or a pickle
    return path.suffix == '.safetensors' and not is_torch


def _tensors(value: object) -> Iterator[Tensor]:
    """Each once; a pickle can refer to one thing from many places, and to itself."""
    queue: list[object] = [value]
    seen: set[int] = set()
    while queue:
        item = queue.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, dict | list | tuple | set):
            queue.extend(item.values() if isinstance(item, dict) else item)


def _verify_if_possible(path: Path) -> bool:
    try:
        verify(path)
    except Unverifiable:
        return False
    return True


def _read_plain(path: Path) -> object:
    """Everything but code: screened first, then read by torch's restricted unpickler."""
    try:
        check_pickle(path)
        with (
            path.open('rb') as file,  # by its name alone torch takes some for safetensors
            warnings.catch_warnings(),
            torch.serialization.safe_globals(placeholder_globals()),
        ):
            warnings.simplefilter('ignore')
            return torch.load(file, map_location='cpu', weights_only=True, mmap=False)
    except (Refused, pickle.UnpicklingError) as error:
        reason = str(error) if isinstance(error, Refused) else _reason(error)
        raise CheckpointError(
            f'{path} refused: {reason}, and weights need no code; if you trust whoever made it, '
            f'{FLAG} {file_sha256(path)} runs it'
        ) from None
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # a hostile or damaged file brings torch to raise anything
        raise _unreadable(path, error) from None


def _read_trusted(path: Path) -> object:
    """The whole of a file that the user trusts, or None if it is another."""
    content = path.read_bytes()  # what is hashed is what is run, even if the file changes
    if not is_trusted(content):
        return None
    try:
        return torch.load(io.BytesIO(content), map_location='cpu', weights_only=False)
    except Exception as error:
        raise _unreadable(path, error) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except OSError:
        raise
    except Exception as error:
        raise _unreadable(path, error, 'safetensors file') from None
    return weights


def weights_of(checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, which may lie at the top or under a usual name."""
    checkpoint = {key: value for key, value in checkpoint.items() if key != 'proof'}
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not weights:
        found = ', '.join(map(str, list(checkpoint)[:4])) or 'nothing'
        raise CheckpointError(f'{path} holds no weights, but {found}')
    return weights


def _unreadable(path: Path, error: Exception, kind: str = 'checkpoint') -> CheckpointError:
    return CheckpointError(f'{path} is not a readable {kind}: {first_line(error)}')


def _reason(error: Exception) -> str:
    """What torch's unpickler found, without its advice to trust the file."""
    text = str(error)
    if 'GLOBAL ' in text:
        return f'it asks to run {text.split("GLOBAL ")[1].split()[0]}'
    found = text.partition('WeightsUnpickler error:')[2].split('\n\nCheck')[0].strip() or text
    return f'it is no file of plain values ({" ".join(found.split())[:200]})'
