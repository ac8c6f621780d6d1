"""Whether the disk can hold the checkpoints of a run."""

import shutil
from pathlib import Path

from torch import nn

from mae.fault_tolerance.checkpoint.store import list_checkpoints
from mae.utils.errors import CheckpointError

_TIMES = 3  # weights, and two averages of the optimizer


def check_space(work_dir: Path, model: nn.Module, kept: int) -> str | None:
    """Compare the free space of a work dir with what a run will write there.

    Args:
        work_dir: folder.
        model: whose weights take a third of a checkpoint.
        kept: checkpoints that stay; one more is being written.

    Returns:
        A warning, if the disk will not hold all of them.

    Raises:
        CheckpointError: it cannot hold a single one.
    """
    values = model.state_dict().values()
    one = _TIMES * sum(value.numel() * value.element_size() for value in values)
    free = shutil.disk_usage(work_dir).free
    if free < one:
        raise CheckpointError(
            f'{work_dir} has {_size(free)} free, and one checkpoint takes about {_size(one)}; '
            'free some space, or choose another --work-dir'
        )
    there = sum(f.path.stat().st_size for f in list_checkpoints(work_dir) if f.path.is_file())
    needed = one * (kept + 1)
    if free + there < needed:
        return (
            f'{work_dir} has {_size(free)} free, and {kept + 1} checkpoints take about '
            f'{_size(needed)}; saving will fail when it is full'
        )
    return None


def _size(count: float) -> str:
    for unit in ('bytes', 'kB', 'MB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.3g} GB'
