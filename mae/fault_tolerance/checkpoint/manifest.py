"""The manifest of a checkpoint, `<checkpoint>.json` beside it, and the comparison of the two."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mae.utils import strict_json
from mae.utils.errors import CheckpointError
from mae.utils.files import Digest, digest_of

_FORMAT = 1
_LARGEST = 64 << 20  # bytes; ours have some thousand


class Damaged(CheckpointError):  # noqa: N818
    """A file does not match its manifest."""


class Unverifiable(CheckpointError):  # noqa: N818
    """A file has no readable manifest."""


@dataclass(frozen=True)
class ContentRecord:
    """Size, hash and place in the run of a checkpoint file; `best` is the best metric so far."""

    size: int
    sha256: str
    step: int
    epoch: int = 0
    best: float | None = None
    finite: bool = True


@dataclass(frozen=True)
class Manifest:
    """What is known about a checkpoint file without opening it.

    Attributes:
        file: name of the checkpoint.
        previous: record of the file that had the name before. The manifest is replaced just
            before the file, and until then this record is the one that matches.
        about: world size, config as data, versions.
    """

    file: str
    content: ContentRecord
    previous: ContentRecord | None = None
    about: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> str:
        """JSON with a checksum of all other entries."""
        data = strict_json.finite_or_word({'format': _FORMAT, **asdict(self)})
        return strict_json.dumps({**data, 'checksum': _checksum(data)}, indent=1) + '\n'


def manifest_path(path: Path) -> Path:
    """Where the manifest of a checkpoint is."""
    return path.with_name(f'{path.name}.json')


def read_manifest(path: Path) -> Manifest:
    """The manifest of the checkpoint `path`.

    Raises:
        Unverifiable: there is none, or it is damaged.
    """
    file = manifest_path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise Unverifiable(f'{file} is too large for a manifest')
        data = json.loads(file.read_bytes())
        if data.pop('checksum') != _checksum(data) or data.pop('format') != _FORMAT:
            raise Unverifiable(f'{file} is damaged: its checksum does not fit')
        content, previous = data.pop('content'), data.pop('previous')
        return Manifest(
            content=_record(content), previous=_record(previous) if previous else None, **data
        )
    except FileNotFoundError:
        raise Unverifiable(f'{path} has no manifest ({file.name})') from None
    except OSError as error:
        raise Unverifiable(f'{file} cannot be read: {error.strerror}') from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, Unverifiable):
            raise
        raise Unverifiable(f'{file} is damaged') from None


def verify_checkpoint(path: Path) -> ContentRecord:
    """Compare size and SHA-256 of a checkpoint with its manifest.

    Raises:
        Unverifiable: it has no readable manifest.
        Damaged: it is cut, changed, or another file.
        OSError: it cannot be read.
    """
    manifest = read_manifest(path)
    known = [record for record in (manifest.content, manifest.previous) if record]
    size = path.stat().st_size
    if size not in {record.size for record in known}:
        raise Damaged(f'{path} is damaged: it has {size} bytes of {manifest.content.size}')
    found = digest_of(path)
    for record in known:
        if found == Digest(record.size, record.sha256):
            return record
    raise Damaged(f'{path} is damaged: its SHA-256 is not that of its manifest')


def _record(values: dict[str, Any]) -> ContentRecord:
    record = ContentRecord(**values)
    number = isinstance(record.best, int | float | None)
    if not (isinstance(record.size, int) and isinstance(record.step, int) and number):
        raise ValueError
    return record


def _checksum(data: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
