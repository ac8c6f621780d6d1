"""A save: checkpoint and manifest appear complete, then `last_checkpoint`; then old ones go.

The last of three files about a save, after `hook.py` and `background.py`. `commit` is the whole
save, `save_checkpoint` its first step and the only place where a checkpoint becomes visible.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mae.fault_tolerance.checkpoint.folder import (
    BEST,
    FoundCheckpoint,
    numbered,
    remove_checkpoint,
    set_aside,
    set_aside_later,
)
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import (
    ContentRecord,
    Damaged,
    Manifest,
    Unverifiable,
    manifest_path,
    verify_checkpoint,
)
from mae.utils.files import remove, sync_folder, write_temporary, write_text
from mae.utils.sharded import local

POINTER = 'last_checkpoint'
_AT_LEAST = 2  # verified checkpoints that always stay
_ABOUT = ('world_size', 'cfg', 'versions')
_TIMES = 3  # weights, and two averages of the optimizer


def commit(
    checkpoint: Checkpoint,
    path: Path,
    pruner: 'Pruner | None' = None,
    start: int | None = None,
    *,
    keep_best: bool = True,
) -> list[str]:
    """Write a checkpoint; everything else in the work dir changes only after it is on the disk.

    Args:
        pruner: removes old checkpoints; None keeps all.
        start: step at which this continuation of the run began; checkpoints of later steps are
            of another one and are set aside.
        keep_best: `best.pth` is of this continuation and stays.

    Returns:
        New names of the checkpoints that were set aside.

    Raises:
        OSError: the disk refused; older checkpoints are untouched.
    """
    return settle(save_checkpoint(checkpoint, path), path, pruner, start, keep_best=keep_best)


def settle(
    record: ContentRecord,
    path: Path,
    pruner: 'Pruner | None' = None,
    start: int | None = None,
    *,
    keep_best: bool = True,
) -> list[str]:
    """What `commit` does once the checkpoint is on the disk."""
    if path.name == BEST:
        return []
    _point_to(path)
    own = [path, path.with_name(BEST)] if keep_best else [path]
    later = [] if start is None else set_aside_later(path.parent, start, own)
    if pruner is not None:
        pruner.note(path, record)
        pruner.prune(path.parent)
    return later


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> ContentRecord:
    """Write a checkpoint and, beside it, its manifest.

    Both are written under temporary names and flushed. Then the manifest is renamed, and last the
    checkpoint; the manifest describes the file that it replaces as well. If the process is killed
    at any point, `path` is absent, the old file or the new one, and its manifest describes it.

    Args:
        checkpoint: tensors and plain values; `meta` holds step, epoch, world size and config.
        path: ends in `.pth`.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    meta = checkpoint.get('meta', {})
    finite = is_finite(checkpoint.get('state_dict', {}))
    temporary, digest = write_temporary(path, lambda file: torch.save(checkpoint, file))
    try:
        record = ContentRecord(
            size=digest.size,
            sha256=digest.sha256,
            finite=finite,
            **place_in_run(meta),
        )
        manifest = Manifest(path.name, record, _present(path), about(meta))
        write_text(manifest_path(path), manifest.to_json())
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        if not path.exists():
            remove(manifest_path(path))
        raise
    sync_folder(path.parent)
    return record


class Pruner:
    """Removes old checkpoints, once enough newer ones are verified.

    Args:
        max_keep: number of checkpoints of an epoch or iteration kept; at least two verified ones
            stay, and one whose weights are finite.
    """

    def __init__(self, max_keep: int) -> None:
        self.max_keep = max(max_keep, _AT_LEAST)
        self._good: dict[str, ContentRecord] = {}  # each is verified once, not at every save

    def note(self, path: Path, record: ContentRecord) -> None:
        """Note that a checkpoint has just been written."""
        self._good[path.name] = record

    def prune(self, work_dir: Path) -> list[str]:
        """Remove the checkpoints beyond `max_keep`.

        Returns:
            Their names.

        Raises:
            OSError: the folder cannot be changed.
        """
        good, finite, gone = 0, 0, []
        for found in numbered(work_dir):
            if good < self.max_keep or not finite:
                record = self._verify(found)
                if good >= self.max_keep and not (record and record.finite):
                    gone.append(found.path)
                good += record is not None
                finite += record is not None and record.finite
            else:
                gone.append(found.path)
        for path in reversed(gone):  # the oldest first
            remove_checkpoint(path)
            self._good.pop(path.name, None)
        return [path.name for path in gone]

    def _verify(self, found: FoundCheckpoint) -> ContentRecord | None:
        known = self._good.get(found.path.name)
        if known is None or known != found.record:
            try:
                known = verify_checkpoint(found.path)
            except (Damaged, Unverifiable, OSError):
                return None
            self._good[found.path.name] = known
        return known


def _point_to(path: Path) -> None:
    """Let `last_checkpoint`, which other tools read, name a checkpoint."""
    pointer = path.with_name(POINTER)
    if pointer.is_dir() and not pointer.is_symlink():  # not ours; a file cannot replace it
        set_aside(pointer, 'corrupt')
    write_text(pointer, str(path))


def _present(path: Path) -> ContentRecord | None:
    """ContentRecord of the file that is about to be replaced."""
    try:
        return verify_checkpoint(path) if path.exists() else None
    except (Damaged, Unverifiable):
        return None


def checkpoint_bytes(model: nn.Module) -> int:
    """About what a checkpoint of a run takes: its weights three times."""
    return _TIMES * sum(value.nbytes for value in (*model.parameters(), *model.buffers()))


def place_in_run(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of where in its run a checkpoint was made."""
    return {'step': meta.get('step', 0), 'epoch': meta.get('epoch', 0), 'best': meta.get('best')}


def about(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of a run besides its place in it."""
    return {key: meta[key] for key in _ABOUT if key in meta}


def is_finite(weights: Mapping[str, Tensor]) -> bool:
    """Whether all weights, of a sharded model those of this process, are finite numbers."""
    own = (local(value) for value in weights.values() if value.is_floating_point())
    return all(bool(value.isfinite().all()) for value in own)
