"""A work dir that holds runs, not attempts."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process

from mae.fault_tolerance.lock import NAME as LOCK


@contextmanager
def tidy_start(work_dir: str | Path) -> Iterator[None]:
    """Take away what a run left in `work_dir` that failed before its first result.

    What was there before stays, and so does everything once a step, a checkpoint, a logged value or
    a list of bad samples shows that the run had begun.
    """
    folder = Path(work_dir)
    # Empty counts as absent: another process of the same run may have just made it.
    # So does the lock, which goes with the folder, while this process holds it.
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
