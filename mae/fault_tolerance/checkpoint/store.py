"""The checkpoints of a work dir: which there are, which are good, which may go."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mae.fault_tolerance.checkpoint.durable import remove
from mae.fault_tolerance.checkpoint.manifest import (
    Damaged,
    Record,
    Unverifiable,
    manifest_path,
    read_manifest,
    verify,
)

BEST = 'best.pth'
_NUMBERED = re.compile(r'(?P<unit>epoch|iter)_(?P<number>\d+)\.pth')


@dataclass(frozen=True)
class Found:
    """A checkpoint file of a work dir.

    Attributes:
        path: of it.
        step: optimizer steps done, by its manifest, else by its name.
        record: by its manifest; None without one. `list_checkpoints` only compares sizes.
    """

    path: Path
    step: int
    record: Record | None


def list_checkpoints(
    work_dir: Path, steps_per_epoch: int = 0, *, sure: bool = False
) -> list[Found]:
    """All that bear the name of a checkpoint, the one of the latest step first.

    Args:
        work_dir: folder.
        steps_per_epoch: places `epoch_N.pth` without a manifest.
        sure: where a save was cut off between manifest and file, read the file to tell its step.
    """
    found = []
    for path in work_dir.glob('*.pth'):
        name = _NUMBERED.fullmatch(path.name)
        if name is None and path.name != BEST:
            continue
        record = _expected(path, sure)
        if record is not None:
            step = record.step
        elif name is None:
            step = -1
        else:
            step = int(name['number']) * (1 if name['unit'] == 'iter' else steps_per_epoch)
        found.append(Found(path, step, record))
    return sorted(found, key=lambda f: (f.step, f.path.name != BEST, f.path.name), reverse=True)


def verified(work_dir: Path) -> Iterator[Found]:
    """The checkpoints that are what their manifests say, from the latest step to the earliest."""
    for found in list_checkpoints(work_dir, sure=True):
        try:
            record = verify(found.path)
        except (Damaged, Unverifiable, OSError):
            continue
        yield Found(found.path, record.step, record)


def newest_verified(
    work_dir: Path, *, finite: bool = False, with_best: bool = True
) -> Found | None:
    """The latest good checkpoint, or None.

    Args:
        work_dir: folder.
        finite: all of its weights must be finite numbers.
        with_best: `best.pth` counts too, where it is the latest.
    """
    for found in verified(work_dir):
        if found.path.name == BEST and not with_best:
            continue
        if found.record is not None and (found.record.finite or not finite):
            return found
    return None


def set_aside(path: Path, ending: str) -> Path:
    """Rename a checkpoint and its manifest, so that nothing takes it for one; deletes nothing.

    Returns:
        Its new name: `path` with `.ending`, or `.ending2` and so on.

    Raises:
        OSError: the folder cannot be changed.
    """
    names = (path.with_name(f'{path.name}.{ending}{"" if n == 1 else n}') for n in count(1))
    target = next(name for name in names if not os.path.lexists(name))
    os.replace(path, target)
    if manifest_path(path).exists():
        os.replace(manifest_path(path), manifest_path(target))
    return target


def set_aside_later(work_dir: Path, step: int, own: Sequence[Path]) -> list[str]:
    """Set aside the checkpoints beyond a step: those of a continuation given up.

    Args:
        work_dir: folder.
        step: where the present continuation begins.
        own: its checkpoints, which stay.

    Returns:
        Their new names.

    Raises:
        OSError: the folder cannot be changed.
    """
    found = [f for f in list_checkpoints(work_dir, sure=True) if f.path.is_file()]
    later = [f.path for f in found if f.step > step and f.path not in own]
    return [set_aside(path, 'superseded').name for path in later]


def remove_lone_manifests(work_dir: Path) -> list[str]:
    """Remove manifests without a checkpoint, as a run leaves them that was killed in between.

    Returns:
        Their names.
    """
    manifests = [*work_dir.glob('epoch_*.pth.json'), *work_dir.glob('iter_*.pth.json')]
    manifests += work_dir.glob(f'{BEST}.json')
    lone = [path for path in manifests if not os.path.lexists(path.with_suffix(''))]
    for path in lone:
        remove(path)
    return [path.name for path in lone]


def numbered(work_dir: Path) -> list[Found]:
    """Those of an epoch or iteration, without the best: the one of the latest step first."""
    return [f for f in list_checkpoints(work_dir) if f.path.is_file() and f.path.name != BEST]


def _expected(path: Path, sure: bool) -> Record | None:
    """What the manifest says of this file, by its size; by its hash, if that leaves a choice."""
    try:
        manifest = read_manifest(path)
        size = path.stat().st_size
        records = (manifest.content, manifest.previous)
        fitting = [record for record in records if record and record.size == size]
        if len(fitting) == 2 and sure:
            return verify(path)
    except (Damaged, Unverifiable, OSError):
        return None
    return fitting[0] if fitting else manifest.content
