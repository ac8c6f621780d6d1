"""`scalars.json` of a run: strict JSON, which includes the scalars before a resume."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.visualization import LocalVisBackend as MMLocalVisBackend

from mae.registry import VISBACKENDS
from mae.utils import strict_json
from mae.utils.files import whole_file
from mae.utils.runner_protocol import RunnerProtocol
from mae.visualization.runs.record import copy_pictures


@VISBACKENDS.register_module()
class LocalVisBackend(MMLocalVisBackend):
    """mmengine's, with strict JSON also if a loss is NaN (see `strict_json`)."""

    def _dump(self, value_dict: dict[str, Any], file_path: str, file_format: str) -> None:
        super()._dump(strict_json.finite_or_word(value_dict), file_path, file_format)


def keeps_scalars(runner: RunnerProtocol) -> bool:
    """Whether a run writes `scalars.json`: one of its backends is a `LocalVisBackend`."""
    backends = runner.visualizer._vis_backends.values()
    return any(isinstance(backend, MMLocalVisBackend) for backend in backends)


def begin_with_history(runner: RunnerProtocol) -> None:
    """Copy scalars and pictures up to the checkpoint that a run resumes, if they lie beside it.

    The older files stay as they are, with the steps after the checkpoint.

    Args:
        runner: a resumed run that has not logged scalars yet.

    Raises:
        OSError: a file cannot be read or written.
    """
    assert runner.resumed_from is not None
    if not is_main_process() or not keeps_scalars(runner):
        return
    target = Path(runner.log_dir) / 'vis_data' / 'scalars.json'
    found = Path(runner.resumed_from).parent.glob('*/vis_data/scalars.json')
    before = max(filter(Path.is_file, found), default=target)  # a device might never end
    if before == target or target.exists():
        return
    with before.open('rb') as file:
        lines = lines_until(file, runner.iter)
    if lines:
        with whole_file(target, flush=False) as file:
            file.writelines(lines)
    copy_pictures(before.parent, target.parent, runner.iter)


def lines_until(lines: Iterable[bytes], step: int) -> list[bytes]:
    """The lines up to `step` that the run will not log again when it continues from there.

    Args:
        lines: JSON objects; those of training have an `epoch`, evaluations follow their step.
        step: optimizer steps done.

    Returns:
        The lines, each step once: the later one, if the run has gone back. None after the line of
        `step` itself, since the end of an epoch is repeated.
    """
    kept: list[tuple[int, bool, bytes]] = []
    at = 0  # step of the last training line
    for line in lines:
        if not line.endswith(b'\n'):  # cut short as the run was killed
            break
        try:
            record = strict_json.loads_numbers(line)
            trains = 'epoch' in record
            at = record['step'] if trains else at
        except (LookupError, TypeError, ValueError):  # or the disk was full
            continue
        while trains and kept and kept[-1][0] >= at:
            kept.pop()
        if b'NaN' in line or b'Infinity' in line:  # older versions wrote them bare
            line = strict_json.dumps(record).encode() + b'\n'
        kept.append((at, trains, line))
    return [line for at, trains, line in kept if at < step or (at == step and trains)]
