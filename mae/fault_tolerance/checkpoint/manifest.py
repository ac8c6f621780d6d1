"""The manifest of a checkpoint, `<checkpoint>.json` beside it, and the comparison of the two.

A checkpoint is a file, `.pth`, or a folder of files that the processes wrote, `.dcp`.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mae.utils import strict_json
from mae.utils.errors import CheckpointError
from mae.utils.files import Digest, digest_of

_FORMATS = (1, 2)  # of a file, of a folder
_LARGEST = 64 << 20  # bytes; ours have some thousand


class Damaged(CheckpointError):  # noqa: N818
    """A file does not match its manifest."""


class Unverifiable(CheckpointError):  # noqa: N818
    """A file has no readable manifest."""


@dataclass(frozen=True)
class ContentRecord:
    """Size, hash and place in the run of a checkpoint; `best` is the best metric so far.

    A folder has the size of its files, and the hash of the list of them.
    """

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
        files: size and hash of each file of a folder, by name; None for a file.
        weights_sha256: `weights_sha256` of the whole weights in a folder; '' for a file.
    """

    file: str
    content: ContentRecord
    previous: ContentRecord | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, Digest] | None = None
    weights_sha256: str = ''

    def to_json(self) -> str:
        """JSON with a checksum of all other entries."""
        values = {'format': _FORMATS[self.files is not None], **asdict(self)}
        if self.files is None:
            del values['files'], values['weights_sha256']
        data = strict_json.finite_or_word(values)
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
        if data.pop('checksum') != _checksum(data) or data.pop('format') not in _FORMATS:
            raise Unverifiable(f'{file} is damaged: its checksum does not fit')
        content, previous = data.pop('content'), data.pop('previous')
        files = data.pop('files', None)
        return Manifest(
            content=_record(content),
            previous=_record(previous) if previous else None,
            files=None if files is None else _files(files),
            **data,
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
    """Compare size and SHA-256 of a checkpoint, or of each file of a folder, with its manifest.

    Raises:
        Unverifiable: it has no readable manifest.
        Damaged: it is cut, changed, or another file.
        OSError: it cannot be read.
    """
    manifest = read_manifest(path)
    if path.is_dir() or manifest.files is not None:
        return verify_folder(path)
    known = [record for record in (manifest.content, manifest.previous) if record]
    size = path.stat().st_size
    if size not in {record.size for record in known}:
        raise Damaged(f'{path} is damaged: it has {size} bytes of {manifest.content.size}')
    found = digest_of(path)
    for record in known:
        if found == Digest(record.size, record.sha256):
            return record
    raise Damaged(f'{path} is damaged: its SHA-256 is not that of its manifest')


def verify_folder(path: Path, part: int = 0, parts: int = 1) -> ContentRecord:
    """Compare the files of a folder with its manifest: the sizes of all, and some SHA-256.

    Args:
        part: rank of this process among those that share the work; each hashes other files.
        parts: number of these processes; 0 compares sizes alone.

    Raises:
        Unverifiable: it has no readable manifest.
        Damaged: a file is missing, cut, changed, or of another checkpoint.
        OSError: it cannot be read.
    """
    manifest = read_manifest(path)
    if manifest.files is None or not path.is_dir():
        raise Damaged(f'{path} is damaged: it is not what its manifest describes')
    for name, known in manifest.files.items():
        size = file_size(path / name)
        if size is None:
            raise Damaged(f'{path} is damaged: {name} is missing')
        if size != known.size:
            raise Damaged(f'{path} is damaged: {name} has {size} bytes of {known.size}')
    mine = sorted(manifest.files)[part::parts] if parts else []
    for name in mine:
        if digest_of(path / name) != manifest.files[name]:
            raise Damaged(f'{path} is damaged: the SHA-256 of {name} is not that of its manifest')
    return manifest.content


def file_size(path: Path) -> int | None:
    """Size in bytes; None if there is no such file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def folder_record(files: Mapping[str, Digest], **place: Any) -> ContentRecord:
    """The record of a folder.

    Args:
        files: size and hash of each, by name.
        place: the other fields of `ContentRecord`, such as step and epoch.
    """
    listed = ''.join(f'{name} {files[name].size} {files[name].sha256}\n' for name in sorted(files))
    size = sum(digest.size for digest in files.values())
    return ContentRecord(size, hashlib.sha256(listed.encode()).hexdigest(), **place)


def _files(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Digest]:
    files = {name: Digest(**value) for name, value in values.items()}
    if not files or any(name != Path(name).name or name == '..' for name in files):
        raise ValueError
    return files


def _record(values: dict[str, Any]) -> ContentRecord:
    record = ContentRecord(**values)
    number = isinstance(record.best, int | float | None)
    if not (isinstance(record.size, int) and isinstance(record.step, int) and number):
        raise ValueError
    return record


def _checksum(data: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
