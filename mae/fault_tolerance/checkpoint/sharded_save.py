"""A save by all processes: each writes the tensors that it holds, into one folder.

Under a hidden name `torch.distributed.checkpoint` (DCP) writes the tensors, each process hashes
what it wrote, and the first process adds the other values, writes the manifest and renames the
folder, which makes it visible: the order of `save_checkpoint`. `sharded_load.py` reads it.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta

from mae.fault_tolerance.checkpoint.folder import (
    remove_checkpoint,
    rename_checkpoint,
    set_aside,
)
from mae.fault_tolerance.checkpoint.manifest import (
    ContentRecord,
    Manifest,
    file_size,
    folder_record,
    manifest_path,
)
from mae.fault_tolerance.checkpoint.parts import Parts
from mae.fault_tolerance.checkpoint.save import about, is_finite, place_in_run
from mae.fault_tolerance.checkpoint.save_group import SaveGroup
from mae.fault_tolerance.checkpoint.sharded_load import VALUES, Shards
from mae.utils.digest import weights_sha256
from mae.utils.files import (
    Digest,
    HashedFile,
    hashed_file,
    remove,
    sync_folder,
    temporary_path,
    write_text,
)

WEIGHTS = 'state_dict'


def save_sharded(
    parts: Parts, path: Path, group: SaveGroup, settle: Callable[[ContentRecord], list[str]]
) -> list[str]:
    """Write a checkpoint; all processes call it.

    If one is killed at any point, `path` is absent or whole, and its manifest describes it.

    Args:
        parts: what this process writes; its `values` count in the first process.
        path: ends in `.dcp`. A checkpoint of this name is set aside, and removed at the end.
        settle: called in the first process once the checkpoint is visible.

    Returns:
        What `settle` returns.

    Raises:
        OSError: the disk refused in one of the processes; older checkpoints are untouched.
    """
    temporary = Path(group.on_first(lambda: str(_empty_folder(path))))
    try:
        writer = _Writer(temporary)
        group.save(parts.tensors, writer)
        weights = {n: v for n, v in parts.tensors.items() if parts.places[n][0] == WEIGHTS}
        found = group.gather((writer.digests, is_finite(weights)))
        return group.on_first(lambda: settle(_publish(parts, temporary, path, found)))
    except BaseException:
        if not group.rank:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def _empty_folder(path: Path) -> Path:
    folder = temporary_path(path)
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt before
    folder.mkdir(parents=True)
    return folder


def _publish(
    parts: Parts, temporary: Path, path: Path, found: list[tuple[dict[str, Digest], bool]]
) -> ContentRecord:
    """Complete the folder, write its manifest, and give it its name."""
    files = {name: digest for digests, _ in found for name, digest in digests.items()}
    values: Any
    with hashed_file(temporary / VALUES) as values:
        torch.save({'values': parts.values, 'places': parts.places}, values)
    files[VALUES] = values.digest
    for name, digest in files.items():
        if file_size(temporary / name) != digest.size:
            why = f'{name}, written by another process, is not in the work dir of the first'
            raise OSError(errno.ENOENT, why)
    sync_folder(temporary)
    meta = parts.values.get('meta', {})
    record = folder_record(files, finite=all(finite for _, finite in found), **place_in_run(meta))
    # Read back one by one: so they are known to be readable, and are never all in memory.
    weights = weights_sha256(_Weights(Shards(temporary)))
    manifest = Manifest(path.name, record, None, about(meta), files, weights)
    before = set_aside(path, 'superseded') if os.path.lexists(path) else None
    try:
        write_text(manifest_path(path), manifest.to_json())
        os.replace(temporary, path)
    except BaseException:
        remove(manifest_path(path))
        if before is not None:
            rename_checkpoint(before, path)
        raise
    sync_folder(path.parent)
    if before is not None:
        remove(manifest_path(before))
        remove_checkpoint(before)
    return record


class _Weights(Mapping[str, Tensor]):
    """The weights in a folder, each read when it is asked for."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        places = shards.places.items()
        self._names = {str(place[1]): name for name, place in places if place[0] == WEIGHTS}

    def __getitem__(self, key: str) -> Tensor:
        name = self._names[key]
        target = {name: self._shards.new_tensor(name)}
        self._shards.read_into(target)
        return target[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Writer(FileSystemWriter):
    """DCP's writer, which hashes what it writes and notes no path of this machine.

    Attributes:
        digests: of the files of this process, by name.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync_files=False)  # `hashed_file` flushes them
        self.fs: Any = _Files()
        self.digests: dict[str, Digest] = self.fs.digests

    def storage_meta(self) -> StorageMeta:
        return StorageMeta()


class _Files(FileSystem):
    """DCP's files, hashed as they are written."""

    def __init__(self) -> None:
        self.digests: dict[str, Digest] = {}

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[HashedFile]:  # type: ignore[override]
        with hashed_file(Path(path)) as file:
            yield file
        self.digests[Path(path).name] = file.digest

    def rename(self, path: Any, new_path: Any) -> None:
        os.replace(path, new_path)
        self.digests[Path(new_path).name] = self.digests.pop(Path(path).name)
