"""What proves that the values behind the names are those that were written.

Names and shapes cannot tell a transposed square matrix from a right one, nor queries from keys.
A digest of each tensor can, and it travels with the weights from format to format.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mae.utils.errors import CheckpointError
from mae.utils.files import file_sha256

# 64 bits: a slip is not an attack, and a file's own SHA-256 is there for those.
_DIGITS = 16
_HASHED_NAME = re.compile(r'-([0-9a-f]{8})\.(?:pth|safetensors)$')
_DATE = re.compile(r'(19|20)\d{6}')


def digest(tensor: Tensor) -> str:
    """Of type, shape and values."""
    plain = tensor.detach().cpu().contiguous()
    sha = hashlib.sha256(f'{plain.dtype} {tuple(plain.shape)}'.encode())
    sha.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()[:_DIGITS]


def manifest_of(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """A digest of each tensor by our name."""
    return {name: digest(value) for name, value in weights.items()}


def check_manifest(
    weights: Mapping[str, Tensor], manifest: Mapping[str, str], path: object
) -> None:
    """Refuse weights that are not those of the manifest.

    Raises:
        CheckpointError: a tensor is missing, unknown or has other values.
    """
    wrong = [f'{name} is missing' for name in manifest if name not in weights]
    wrong += [f'{name} is unknown' for name in weights if name not in manifest]
    wrong += [
        f'{name} has other values'
        for name, value in weights.items()
        if name in manifest and digest(value) != manifest[name]
    ]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(
            f'{path} is not what was written, by its manifest: {"; ".join(wrong[:3])}{more}'
        )


def check_name(path: Path) -> bool:
    """Whether the name ends in the start of the file's SHA-256, as OpenMMLab's and ours do.

    Returns:
        True if it does, False if the name promises nothing.

    Raises:
        CheckpointError: it promises another file.
    """
    match = _HASHED_NAME.search(path.name)
    if match is None or not path.is_file():
        return False
    found = file_sha256(path)
    if found.startswith(match[1]):
        return True
    if _DATE.fullmatch(match[1]):
        return False
    raise CheckpointError(
        f'{path} is not the file its name promises: its SHA-256 starts with {found[:8]}, not with '
        f'{match[1]}; fetch it again, or rename it if it was changed on purpose'
    )
