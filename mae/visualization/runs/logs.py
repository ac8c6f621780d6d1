"""Reading the scalars that mmengine's `LocalVisBackend` writes: JSON lines."""

import json
from collections.abc import Sequence
from pathlib import Path

from mae.utils import strict_json

Scalars = dict[str, float]
SCALARS = 'scalars.json'
TIMES = ('time', 'data_time')  # seconds of a step; in a record of evaluation, of a batch


def find_scalars(work_dir: Path, since: float = 0.0) -> Path | None:
    """The newest `<run>/vis_data/scalars.json` of a work dir, all of a resumed run; or None.

    Args:
        work_dir: one folder for each start of a run, named by its time.
        since: leave out logs not written to since then (seconds since the epoch).
    """
    paths = work_dir.glob(f'*/vis_data/{SCALARS}')
    recent = [path for path in paths if path.stat().st_mtime >= since]
    return max(recent, default=None)


def read_scalars(path: Path) -> list[Scalars]:
    """All records; a last line that is still being written is left out.

    Raises:
        ValueError: another line is not JSON, or holds no numbers by name; names file and line.
    """
    records = []
    try:
        lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
    except UnicodeDecodeError:
        raise ValueError(f'{path} is no log of scalars: it is not text in UTF-8') from None
    for number, line in enumerate(lines, 1):
        if not line.endswith('\n'):
            break
        try:
            record = strict_json.loads_numbers(line)
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}:{number}: not a line of JSON: {error.msg}') from None
        if not _are_scalars(record):
            raise ValueError(f'{path}:{number}: no scalars by name, with the step of an iteration')
        records.append(record)
    return records


def _are_scalars(record: object) -> bool:
    if not isinstance(record, dict) or ('iter' in record and 'step' not in record):
        return False
    return all(isinstance(value, int | float) and _is_float(value) for value in record.values())


def _is_float(value: float) -> bool:
    """Whether it can be drawn: JSON has whole numbers of any length."""
    try:
        float(value)
    except OverflowError:
        return False
    return True


def is_training(record: Scalars) -> bool:
    """Whether a record is of training steps; the others are of evaluations."""
    return 'iter' in record


def with_steps(records: Sequence[Scalars]) -> list[tuple[int, Scalars]]:
    """All records, each with the optimizer step it belongs to, in ascending order.

    A validation counts epochs, so it belongs to the training line before it. Steps that the run has
    gone back over are left out.
    """
    found: list[tuple[int, Scalars]] = []
    at = 0
    for record in records:
        if is_training(record):
            at = int(record['step'])
            while found and found[-1][0] >= at:
                found.pop()
        found.append((at, record))
    return found


def steps_rolled_back(records: Sequence[Scalars]) -> int:
    """Number of steps that `with_steps` leaves out: from each line left out to the one before."""
    kept, number = [0], 0
    for step in (int(record['step']) for record in records if is_training(record)):
        last = kept[-1]
        while len(kept) > 1 and kept[-1] >= step:
            kept.pop()
        number += last - kept[-1]
        kept.append(step)
    return number


def with_key(records: Sequence[Scalars], key: str) -> list[Scalars]:
    """The records that log `key`: 'loss' selects those of training, 'top1' the evaluations.

    Raises:
        ValueError: there are none.
    """
    found = [record for record in records if key in record]
    if not found:
        raise ValueError(f'the log holds no {key!r}')
    return found


def seconds_per_step(records: Sequence[Scalars]) -> float | None:
    """Mean duration of a step over a run, data loading included; None if none was logged.

    Args:
        records: those of training; `time` is the mean of the latest steps before each, in seconds.
            Where a run went back to a checkpoint, steps count from there.
    """
    seconds, steps, before = 0.0, 0.0, 0.0
    for record in records:
        if 'time' in record:
            number = max(record['step'] - before, 0.0)
            seconds += record['time'] * number
            steps += number
        before = record['step']
    return seconds / steps if steps else None


def images_per_second(records: Sequence[Scalars], global_batch_size: int) -> float:
    """Training throughput over a whole run, data loading included.

    Args:
        records: those of training.
        global_batch_size: images in one step.

    Raises:
        ValueError: they have no times.
    """
    seconds = seconds_per_step(records)
    if not seconds:
        raise ValueError('the log holds no times of steps')
    return global_batch_size / seconds
