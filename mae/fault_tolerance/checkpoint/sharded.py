"""A save by all processes: each writes the tensors that it holds, into one folder.

Under a hidden name `torch.distributed.checkpoint` (DCP) writes the tensors, each process hashes
what it wrote, and the first process adds the other values, writes the manifest and renames the
folder, which makes it visible: the order of `save_checkpoint`. `sharded_load.py` reads it.
"""

import errno
import math
import os
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import all_gather_object, broadcast_object_list
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from mae.fault_tolerance.checkpoint.folder import (
    remove_checkpoint,
    rename_checkpoint,
    set_aside,
)
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import (
    ContentRecord,
    Manifest,
    file_size,
    folder_record,
    manifest_path,
)
from mae.fault_tolerance.checkpoint.save import about, is_finite, place_in_run
from mae.fault_tolerance.checkpoint.sharded_load import VALUES, KeyPath, Shards
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
from mae.utils.sharded import local

T = TypeVar('T')
WEIGHTS = 'state_dict'
# torch warns at each save of a run of one process.
warnings.filterwarnings('ignore', 'torch.distributed is disabled, unavailable', UserWarning)


class Peers:
    """The processes of a run, on a group of their own for saves.

    Collectives of the training run at the same time as those of the thread that saves: on one group
    they would cross. The group is of gloo, whose collectives need no GPU.

    Args:
        seconds: after which a process that is silent in a save counts as dead.
    """

    def __init__(self, seconds: float) -> None:
        self._group: Any = None
        self.rank, self.count = 0, 1
        if dist.is_initialized():
            self._group = dist.new_group(backend='gloo', timeout=timedelta(seconds=seconds))
            self.rank, self.count = dist.get_rank(), dist.get_world_size()

    def save(self, tensors: dict[str, Tensor], writer: FileSystemWriter) -> None:
        """Write the tensors of all processes.

        Raises:
            OSError: the disk refused in one of them.
        """
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        try:
            save(
                tensors,
                storage_writer=writer,
                planner=planner,
                process_group=self._group,
                no_dist=self._group is None,
            )
        except CheckpointException as error:
            rank, (cause, _) = min(error.failures.items(), key=lambda item: item[0])
            if isinstance(cause, OSError):
                raise OSError(cause.errno, f'{cause.strerror} (process {rank})') from None
            raise RuntimeError(f'process {rank}: {cause}') from cause

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in each."""
        found: list[T] = all_gather_object(value, self._group)
        return found

    def on_first(self, function: Callable[[], T]) -> T:
        """Let the first process call `function`; all get what it returns, or raise its error."""
        outcome: list[Any] = [None, None]
        if not self.rank:
            try:
                outcome[0] = function()
            except OSError as error:
                outcome[1] = OSError(error.errno, error.strerror or str(error))
            except Exception as error:  # the others wait for word of it, whatever it is
                outcome[1] = RuntimeError(f'{type(error).__name__}: {error}')
        broadcast_object_list(outcome, 0, self._group)
        if outcome[1] is not None:
            raise outcome[1]
        found: T = outcome[0]
        return found


@dataclass
class Parts:
    """A checkpoint taken apart.

    Attributes:
        tensors: by name; those that this process writes.
        values: the checkpoint with None in place of each tensor.
        places: the keys that lead to each tensor, by its name.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: Checkpoint = field(default_factory=dict)
    places: dict[str, KeyPath] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> 'Parts':
        """Take a checkpoint apart, without copying its tensors."""
        parts = cls()
        parts.values = parts._without_tensors(checkpoint, ())
        return parts

    def keep_own(self, shared: Collection[str], rank: int, count: int) -> None:
        """Keep what this process writes: its shards, and some of the tensors that all have.

        Of these each goes to the process with the fewest bytes so far.

        Args:
            shared: names of parameters. They and the optimizer's averages are equal in all
                processes; other whole tensors, such as statistics, are the first process's own.
            rank: number of this process.
            count: of processes.
        """
        loads = [0] * count
        for name in sorted(self.tensors, key=lambda n: (-_bytes(self.tensors[n]), n)):
            if isinstance(self.tensors[name], DTensor):
                continue
            place, writer = self.places[name], 0
            if place[0] == 'optimizer' or str(place[-1]).removeprefix('module.') in shared:
                writer = loads.index(min(loads))
            loads[writer] += _bytes(self.tensors[name])
            if writer != rank:
                del self.tensors[name]

    def copy_to_host(self, copy: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        """Replace the tensors by copies of what this process holds of each."""
        copies = copy({name: local(value) for name, value in self.tensors.items()})
        for name, value in self.tensors.items():
            own = copies[name]
            if isinstance(value, DTensor):  # `from_local` would move the copy back to the GPU
                own = DTensor(own, value._spec, requires_grad=False)
            self.tensors[name] = own

    def _without_tensors(self, value: Any, place: KeyPath) -> Any:
        if isinstance(value, Tensor):
            name = '.'.join(map(str, place))
            assert name not in self.places, name
            self.tensors[name], self.places[name] = value, place
            return None
        if isinstance(value, Mapping):
            return {key: self._without_tensors(v, (*place, key)) for key, v in value.items()}
        if isinstance(value, list):
            return [self._without_tensors(v, (*place, i)) for i, v in enumerate(value)]
        return value


def save_sharded(
    parts: Parts, path: Path, peers: Peers, settle: Callable[[ContentRecord], list[str]]
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
    temporary = Path(peers.on_first(lambda: str(_empty_folder(path))))
    try:
        writer = _Writer(temporary)
        peers.save(parts.tensors, writer)
        weights = {n: v for n, v in parts.tensors.items() if parts.places[n][0] == WEIGHTS}
        found = peers.gather((writer.digests, is_finite(weights)))
        return peers.on_first(lambda: settle(_publish(parts, temporary, path, found)))
    except BaseException:
        if not peers.rank:
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


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()
