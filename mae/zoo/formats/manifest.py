"""Digests that show whether the values of weights are those that were written.

Names and shapes cannot distinguish a transposed square matrix from a right one, nor queries from
keys. A digest of each tensor can, and it is copied with the weights from format to format.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mae.utils.digest import file_digest, tensor_sha256
from mae.utils.errors import CheckpointError
from mae.zoo.checksum import checksum_in, parse_checksum
from mae.zoo.index import find_entry

# 64 bits find mistakes; attacks are for the SHA-256 of the whole file.
_DIGITS = 16


def manifest_of(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """A digest of each tensor by our name."""
    return {name: tensor_sha256(value)[:_DIGITS] for name, value in weights.items()}


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
        if name in manifest and tensor_sha256(value)[:_DIGITS] != manifest[name]
    ]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(
            f'{path} is not what was written, by its manifest: {"; ".join(wrong[:3])}{more}'
        )


def check_name(path: Path) -> str:
    """Verify a file against its name: that of a published file, or one with the file's own hash.

    Returns:
        What proves its values, in words; '' if the name promises nothing.

    Raises:
        CheckpointError: it promises another file.
    """
    promised, where = checksum_in(path.name), 'in its name'
    entry = find_entry(path.name)
    if entry is not None and entry.file == path.name and entry.checksum:
        promised, where = parse_checksum(entry.checksum), 'published'
    if promised is None or not path.is_file():
        return ''
    found = file_digest(path, promised.algorithm)[: len(promised.digits)]
    if found == promised.digits:
        return f'the {promised.label} {where}'
    raise CheckpointError(
        f'{path} is not the file its name promises: its {promised.label} starts with {found}, not '
        f'with {promised.digits}; fetch it again, or rename it if it was changed on purpose'
    )
