"""Removes the files of a run that failed before its first result."""

import json
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from mae.fault_tolerance.checkpoint.folder import SHARDED
from mae.fault_tolerance.lock import NAME as LOCK


@contextmanager
def tidy_start(work_dir: str | Path) -> Iterator[None]:
    """If the body fails before the run has a result, remove the files that it made in `work_dir`.

    A result is a step, a checkpoint, a logged value or a list of bad samples. Older files stay.
    """
    folder = Path(work_dir)
    # Another process of the same run may have just made the empty folder; and the lock of this
    # process is removed with the folder.
    before = {*folder.iterdir()} - {folder / LOCK} if folder.is_dir() else set()
    try:
        yield
    except Exception:
        new = {*folder.iterdir()} - before if folder.is_dir() else set()
        if before:
            new.discard(folder / LOCK)
        if is_main_process() and not any(map(_has_result, new)):
            for path in new:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not before and folder.is_dir():
                folder.rmdir()
        raise


def not_shared(work_dir: str | Path) -> str | None:
    """Whether some processes have another folder at the path of the work dir.

    All processes must call it.

    Returns:
        A warning, in the first process alone.
    """
    folder = Path(work_dir)
    name = [f'.shared-{uuid.uuid4().hex}']
    broadcast_object_list(name, src=0)
    mark = folder / name[0]  # a new name, which no cache of a network file system knows
    try:
        if is_main_process():
            with suppress(OSError):  # a full disk is reported where it matters
                folder.mkdir(parents=True, exist_ok=True)
                mark.touch()
        broadcast_object_list([None], src=0)  # it is there
        sees = False
        with suppress(OSError):
            sees = mark.exists()
        found = all_gather_object((sees, socket.gethostname()))
    finally:
        if is_main_process():
            mark.unlink(missing_ok=True)
    if not is_main_process() or not found[0][0]:
        return None
    lonely = [f'{rank} ({host})' for rank, (sees, host) in enumerate(found) if not sees]
    if not lonely:
        return None
    shown = ', '.join(lonely[:4]) + (f' and {len(lonely) - 4} more' if len(lonely) > 4 else '')
    return (
        f'{work_dir} is not shared: process {shown} has another folder there, so checkpoints are '
        f'only on {found[0][1]}, and resume needs them on every node; choose a work_dir that '
        'all nodes see'
    )


def _has_result(path: Path) -> bool:
    if path.suffix in ('.pth', SHARDED):
        return True
    if path.is_dir():
        return any(file.stat().st_size for file in path.rglob('scalars.json'))
    if path.name == 'run.json':
        return bool(json.loads(path.read_bytes())['step'])
    return path.name == 'bad_samples.jsonl'
