"""Writing a checkpoint: it and its manifest appear whole, or nothing changes."""

import os
from pathlib import Path

import torch
from torch import Tensor

from mae.fault_tolerance.checkpoint.durable import remove, sync_folder, write_temporary, write_text
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import (
    Damaged,
    Manifest,
    Record,
    Unverifiable,
    manifest_path,
    verify,
)

_ABOUT = ('world_size', 'cfg', 'versions')


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> Record:
    """Write a checkpoint and, beside it, its manifest.

    Both are written under temporary names and flushed. Then the manifest gets its name, which
    knows the file that the name stood for until now as well, and last the file. Cut at any point,
    `path` is absent, the old one or the new one, and has a manifest that it fits.

    Args:
        checkpoint: tensors and plain values; `meta` tells step, epoch, world size, config.
        path: ends in `.pth`.

    Raises:
        OSError: the disk refused; an older file of that name is untouched.
    """
    meta = checkpoint.get('meta', {})
    finite = _is_finite(checkpoint.get('state_dict', {}))
    temporary, digest = write_temporary(path, lambda file: torch.save(checkpoint, file))
    try:
        record = Record(
            size=digest.size,
            sha256=digest.sha256,
            step=meta.get('step', 0),
            epoch=meta.get('epoch', 0),
            best=meta.get('best'),
            finite=finite,
        )
        about = {key: meta[key] for key in _ABOUT if key in meta}
        manifest = Manifest(path.name, record, _present(path), about)
        write_text(manifest_path(path), manifest.to_json())
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        if not path.exists():
            remove(manifest_path(path))
        raise
    sync_folder(path.parent)
    return record


def _present(path: Path) -> Record | None:
    """Of the file that is about to be replaced."""
    try:
        return verify(path) if path.exists() else None
    except (Damaged, Unverifiable):
        return None


def _is_finite(weights: dict[str, Tensor]) -> bool:
    floats = [value for value in weights.values() if value.is_floating_point()]
    return all(bool(value.isfinite().all()) for value in floats)
