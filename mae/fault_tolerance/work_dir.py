"""Removes the files of a run that failed before its first result."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process

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


def _has_result(path: Path) -> bool:
    if path.is_dir():
        return any(file.stat().st_size for file in path.rglob('scalars.json'))
    if path.name == 'run.json':
        return bool(json.loads(path.read_bytes())['step'])
    return path.suffix == '.pth' or path.name == 'bad_samples.jsonl'
