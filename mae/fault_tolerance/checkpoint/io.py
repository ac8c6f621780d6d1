"""Reading checkpoint files: only plain values, and no code in them runs."""

import io
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mae.fault_tolerance.checkpoint.manifest import Unverifiable, verify_checkpoint
from mae.fault_tolerance.checkpoint.safe_pickle import (
    Refused,
    check_growth,
    check_pickle,
    placeholder_globals,
)
from mae.utils.digest import file_digest
from mae.utils.errors import CheckpointError
from mae.utils.text import first_line
from mae.utils.trust import FLAG, is_trusted, trusts_any

Checkpoint = dict[str, Any]

MANIFEST = 'the manifest beside it'


def load_checkpoint(path: Path, *, verified: bool = False) -> Checkpoint:
    """Read a file of torch, of tensors and plain values, or of safetensors onto the CPU.

    A file that has a manifest is compared with it first. A file whose pickle would run code is
    refused, unless the user trusts it by its SHA-256 (`mae.utils.trust`).

    Args:
        verified: it has just been compared with its manifest.

    Returns:
        The content of the file, its weights under `state_dict` even if the file has them under
        `model` or at the top, and `proof`, by which its values are verified, '' if by nothing.
        Objects of mmengine's log become an empty `Placeholder`.

    Raises:
        CheckpointError: there is no such file, it is damaged, would run code, or holds no weights.
    """
    checkpoint = read_checkpoint(path, verified=verified)
    return {**checkpoint, 'state_dict': weights_of(checkpoint, path)}


def read_checkpoint(path: Path, *, verified: bool = False) -> Checkpoint:
    """`load_checkpoint` with the weights where the file has them."""
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
    # With stride 0 one stored number fills a whole tensor.
    check_growth(path, sum(t.numel() * t.element_size() for t in _tensors(checkpoint)))
    return {**checkpoint, 'proof': proof}


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors: by its content, since `.bin` may be either; else by its name.

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
    """Each tensor once; a pickle can refer to an object from many places, and to itself."""
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
        verify_checkpoint(path)
    except Unverifiable:
        return False
    return True


def _read_plain(path: Path) -> object:
    """Check the pickle, then read it with torch's restricted unpickler."""
    try:
        check_pickle(path)
        with (
            path.open('rb') as file,  # torch takes some for safetensors by their name
            warnings.catch_warnings(),
            torch.serialization.safe_globals(placeholder_globals()),
        ):
            warnings.simplefilter('ignore')
            return torch.load(file, map_location='cpu', weights_only=True, mmap=False)
    except (Refused, pickle.UnpicklingError) as error:
        reason = str(error) if isinstance(error, Refused) else _reason(error)
        raise CheckpointError(
            f'{path} refused: {reason}, and weights need no code; if you trust whoever made it, '
            f'{FLAG} {file_digest(path)} (trust_checkpoint in Python) runs it'
        ) from None
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # torch raises anything for a hostile or damaged file
        raise _unreadable(path, error) from None


def _read_trusted(path: Path) -> object:
    """The content of a file that the user trusts, or None if it is not trusted."""
    content = path.read_bytes()  # the bytes that are hashed are those that run
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
    """The weights of a checkpoint: under `state_dict`, under `model`, or at the top."""
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
    """The error of torch's unpickler without its advice to trust the file."""
    text = str(error)
    if 'GLOBAL ' in text:
        return f'it asks to run {text.split("GLOBAL ")[1].split()[0]}'
    found = text.partition('WeightsUnpickler error:')[2].split('\n\nCheck')[0].strip() or text
    return f'it is no file of plain values ({" ".join(found.split())[:200]})'
