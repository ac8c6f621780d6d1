"""The checkpoints of a work dir: the list of them, the verified ones, the one to resume.

Of a resume this is the second of three files, between `mae/engine/start.py` and `state.py`.
"""

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mae.fault_tolerance.checkpoint.io import load_checkpoint
from mae.fault_tolerance.checkpoint.manifest import (
    ContentRecord,
    Damaged,
    Unverifiable,
    manifest_path,
    read_manifest,
    verify_checkpoint,
    verify_folder,
)
from mae.utils.errors import CheckpointError
from mae.utils.files import remove, remove_tree

BEST = 'best.pth'
FINAL = 'final.pth'  # after folders: the weights alone
SHARDED = '.dcp'  # suffix of a folder that all processes write
_NUMBERED = re.compile(r'(?P<unit>epoch|iter)_(?P<number>\d+)\.(pth|dcp)')
Warn = Callable[[str], object]


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint of a work dir: a file, or a folder of several processes.

    Attributes:
        step: optimizer steps done, by the manifest, or else by the name.
        record: content by the manifest, None without one; `list_checkpoints` compares only sizes.
    """

    path: Path
    step: int
    record: ContentRecord | None


@dataclass(frozen=True)
class Choice:
    """A checkpoint to continue from.

    Attributes:
        verified: its SHA-256 is that of its manifest.
        is_to_hash: it is a folder, and its files still are to be hashed by all processes, each a
            share of them (`verify_folder`).
    """

    path: Path
    verified: bool
    is_to_hash: bool = False


def list_checkpoints(
    work_dir: Path, steps_per_epoch: int = 0, *, by_hash: bool = False
) -> list[FoundCheckpoint]:
    """All files and folders with the name of a checkpoint, from the latest step to the earliest.

    Args:
        steps_per_epoch: for the step of an `epoch_N.pth` without a manifest.
        by_hash: hash a file for its step, if its manifest describes two files of its size.
    """
    found = []
    for path in (*work_dir.glob('*.pth'), *work_dir.glob(f'*{SHARDED}')):
        name = _NUMBERED.fullmatch(path.name)
        if name is None and path.name != BEST:
            continue
        record = _record_of(path, by_hash)
        if record is not None:
            step = record.step
        elif name is None:
            step = -1
        else:
            step = int(name['number']) * (1 if name['unit'] == 'iter' else steps_per_epoch)
        found.append(FoundCheckpoint(path, step, record))
    return sorted(found, key=lambda f: (f.step, f.path.name != BEST, f.path.name), reverse=True)


def is_present(path: Path) -> bool:
    """Whether there is a file, or for a name of a folder a folder."""
    return path.is_file() or (SHARDED in path.suffixes and path.is_dir())


def size_of(path: Path) -> int:
    """Bytes that a checkpoint takes on the disk.

    Raises:
        OSError: it is not there.
    """
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its manifest; a folder vanishes at once.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_dir():
        remove_tree(path)
    else:
        os.unlink(path)
    remove(manifest_path(path))


def newest_checkpoint(work_dir: Path) -> str | None:
    """Name and hash of the newest checkpoint with a manifest; None without one."""
    for found in list_checkpoints(work_dir, 1):
        if found.record is not None:
            return f'{found.path.name} {found.record.sha256[:12]}'
    return None


def verified(work_dir: Path) -> Iterator[FoundCheckpoint]:
    """The checkpoints that match their manifests, from the latest step to the earliest."""
    for found in list_checkpoints(work_dir, by_hash=True):
        try:
            record = verify_checkpoint(found.path)
        except (Damaged, Unverifiable, OSError):
            continue
        yield FoundCheckpoint(found.path, record.step, record)


def newest_verified(
    work_dir: Path, *, finite: bool = False, with_best: bool = True
) -> FoundCheckpoint | None:
    """The verified checkpoint of the latest step, or None.

    Args:
        finite: all of its weights must be finite numbers.
        with_best: include `best.pth`.
    """
    for found in verified(work_dir):
        if found.path.name == BEST and not with_best:
            continue
        if found.record is not None and (found.record.finite or not finite):
            return found
    return None


def choose_checkpoint(
    work_dir: Path, steps_per_epoch: int, warn: Warn, *, processes: int = 1
) -> Choice | None:
    """The good checkpoint of the latest step; damaged ones are set aside.

    Names and manifests decide, not `last_checkpoint`, which may be missing, old or garbage.

    Args:
        warn: called with a line about each checkpoint that is passed over.
        processes: number of processes; with several a folder is left for them to hash.

    Returns:
        None if there is no good one.

    Raises:
        CheckpointError: the remaining ones cannot be read at the moment, or their weights are not
            finite.
    """
    passed_over = []
    for found in list_checkpoints(work_dir, steps_per_epoch, by_hash=True):
        try:
            choice = _examine(found, processes)
        except (OSError, _NotFinite) as error:
            warn(f'{found.path} is passed over: {error}')
            passed_over.append(str(error))
        except CheckpointError as error:
            warn(f'{error}; {set_aside_damaged(found.path)}')
        else:
            if not (choice.verified or choice.is_to_hash):
                warn(f'{found.path} has no manifest; its own checksums are right, so it is used')
            return choice
    if passed_over:
        raise CheckpointError(f'{work_dir} holds no checkpoint to resume: {passed_over[0]}')
    return None


def check_checkpoint(path: Path, warn: Warn, *, processes: int = 1) -> Choice:
    """Verify the checkpoint that the user names.

    Args:
        processes: see `choose_checkpoint`.

    Raises:
        CheckpointError: it is damaged; names the newest good one in its folder.
    """
    if not is_present(path):
        raise CheckpointError(f'no such checkpoint: {path}{advice(path)}')
    try:
        if path.is_dir():
            return _examine_folder(path, processes)
        verify_checkpoint(path)
    except Unverifiable:
        warn(f'{path} has no manifest that tells whether it is whole')
        try:
            _check_archive(path)
        except Damaged as error:
            raise CheckpointError(f'{error}{advice(path)}') from None
        return Choice(path, verified=False)
    except Damaged as error:
        raise CheckpointError(f'{error}{advice(path)}') from None
    return Choice(path, verified=True)


def set_aside(path: Path, ending: str) -> Path:
    """Rename a checkpoint and its manifest, so that it no longer counts; deletes nothing.

    Returns:
        Its new name: `path` with `.ending`, or `.ending2` and so on.

    Raises:
        OSError: the folder cannot be changed.
    """
    names = (path.with_name(f'{path.name}.{ending}{"" if n == 1 else n}') for n in count(1))
    target = next(name for name in names if not os.path.lexists(name))
    rename_checkpoint(path, target)
    return target


def rename_checkpoint(path: Path, target: Path) -> None:
    """Rename a checkpoint, then its manifest.

    Raises:
        OSError: the folder cannot be changed.
    """
    os.replace(path, target)
    if manifest_path(path).exists():
        os.replace(manifest_path(path), manifest_path(target))


def set_aside_later(work_dir: Path, step: int, own: Sequence[Path]) -> list[str]:
    """Set aside the checkpoints of later steps, which an abandoned continuation has written.

    Args:
        step: where the present continuation begins.
        own: checkpoints of the present continuation, which stay.

    Returns:
        Their new names.

    Raises:
        OSError: the folder cannot be changed.
    """
    found = [f for f in list_checkpoints(work_dir, by_hash=True) if is_present(f.path)]
    later = [f.path for f in found if f.step > step and f.path not in own]
    final = work_dir / FINAL
    if (record := _record_of(final, by_hash=True)) is not None and record.step > step:
        later.append(final)
    return [set_aside(path, 'superseded').name for path in later]


def set_aside_final(work_dir: Path, step: int) -> str | None:
    """Set `final.pth` aside if it is not of step `step`, at which the run has ended now.

    Returns:
        Its new name; None if it stays, or there is none.

    Raises:
        OSError: the folder cannot be changed.
    """
    final = work_dir / FINAL
    record = _record_of(final, by_hash=True)
    if record is None or record.step == step:
        return None
    return set_aside(final, 'superseded').name


def remove_lone_manifests(work_dir: Path) -> list[str]:
    """Remove manifests without a checkpoint: of runs that were killed between the two.

    Returns:
        Their names.
    """
    manifests = [*work_dir.glob('epoch_*.json'), *work_dir.glob('iter_*.json')]
    manifests = [path for path in manifests if _NUMBERED.fullmatch(path.stem)]
    manifests += [path for name in (BEST, FINAL) for path in work_dir.glob(f'{name}.json')]
    lone = [path for path in manifests if not os.path.lexists(path.with_suffix(''))]
    for path in lone:
        remove(path)
    return [path.name for path in lone]


def numbered(work_dir: Path) -> list[FoundCheckpoint]:
    """Checkpoints of an epoch or iteration, without the best, from the latest to the earliest."""
    return [f for f in list_checkpoints(work_dir) if is_present(f.path) and f.path.name != BEST]


class _NotFinite(Exception):  # noqa: N818
    pass


def _examine(found: FoundCheckpoint, processes: int) -> Choice:
    if not is_present(found.path):
        what = 'folder' if found.path.suffix == SHARDED else 'file'
        raise Damaged(f'{found.path} is not a {what}')
    if found.path.is_dir():
        if found.record is not None and not found.record.finite:
            raise _NotFinite('its weights are not finite')
        return _examine_folder(found.path, processes)
    try:
        record = verify_checkpoint(found.path)
    except Unverifiable:
        _check_archive(found.path)
        load_checkpoint(found.path)
        return Choice(found.path, verified=False)
    if not record.finite:
        raise _NotFinite('its weights are not finite')
    return Choice(found.path, verified=True)


def _examine_folder(path: Path, processes: int) -> Choice:
    """Compare the sizes, and the hashes unless several processes are to do it.

    Raises:
        Damaged: it is, or nothing can tell, as it has no manifest.
        OSError: it cannot be read.
    """
    is_alone = processes == 1
    try:
        verify_folder(path, parts=int(is_alone))
    except Unverifiable as error:
        raise Damaged(f'{error}, and a folder is not used without: copy it too') from None
    return Choice(path, verified=is_alone, is_to_hash=not is_alone)


def _check_archive(path: Path) -> None:
    """Test the checksums inside the zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Damaged(f'{path} is damaged: {error}') from None
    if bad is not None:
        raise Damaged(f'{path} is damaged: the checksum of {bad} in it does not fit')


def set_aside_damaged(path: Path) -> str:
    """Set a damaged checkpoint aside; returns in words what became of it."""
    try:
        return f'set aside as {set_aside(path, "corrupt").name}'
    except OSError as error:
        return f'it could not be set aside ({error.strerror})'


def advice(path: Path) -> str:
    """The newest good checkpoint beside one that cannot be used, for its message."""
    good = newest_verified(path.parent) if path.parent.is_dir() else None
    if good is None:
        return f'; no good one in {path.parent}'
    return f'; the newest good one there is {good.path}'


def _record_of(path: Path, by_hash: bool) -> ContentRecord | None:
    """The record in the manifest that matches the size of the file, and its hash if two do."""
    try:
        manifest = read_manifest(path)
        size = size_of(path)
        records = (manifest.content, manifest.previous)
        fitting = [record for record in records if record and record.size == size]
        if len(fitting) == 2 and by_hash:
            return verify_checkpoint(path)
    except (Damaged, Unverifiable, OSError):
        return None
    return fitting[0] if fitting else manifest.content
