"""What a run logs: strict JSON, and in one file also what was logged before it was resumed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.visualization import LocalVisBackend as MMLocalVisBackend

from mae.registry import VISBACKENDS
from mae.utils import strict_json
from mae.utils.files import whole_file
from mae.utils.runner_protocol import RunnerProtocol


@VISBACKENDS.register_module()
class LocalVisBackend(MMLocalVisBackend):
    """mmengine's, whose `scalars.json` is JSON also where a loss is NaN (see `strict_json`)."""

    def _dump(self, value_dict: dict[str, Any], file_path: str, file_format: str) -> None:
        super()._dump(strict_json.finite_or_word(value_dict), file_path, file_format)


def begin_with_history(runner: RunnerProtocol) -> None:
    """Copy what led to the checkpoint that a run goes on from, if that lies beside it.

    The file it comes from stays as it is, with what the run before did after its checkpoint.

    Args:
        runner: of a resumed run, before it logs its first scalars.

    Raises:
        OSError: a file cannot be read or written.
    """
    assert runner.resumed_from is not None
    backends = runner.visualizer._vis_backends.values()
    if not is_main_process() or not any(isinstance(b, MMLocalVisBackend) for b in backends):
        return
    target = Path(runner.log_dir) / 'vis_data' / 'scalars.json'
    found = Path(runner.resumed_from).parent.glob('*/vis_data/scalars.json')
    before = max(filter(Path.is_file, found), default=target)  # no device: it may never end
    if before == target or target.exists():
        return
    with before.open('rb') as file:
        lines = lines_until(file, runner.iter)
    if lines:
        with whole_file(target, flush=False) as file:
            file.writelines(lines)


def lines_until(lines: Iterable[bytes], step: int) -> list[bytes]:
    """What a run logged up to `step`, and will not log again when it goes on from there.

    Args:
        lines: of JSON; those of training have an `epoch`, evaluations follow the step they are of.
        step: optimizer steps done.

    Returns:
        The lines, each step once: where a run has gone back, the later ones. Of what was logged
        after the line of `step` itself nothing, for the end of an epoch is done again.
    """
    kept: list[tuple[int, bool, bytes]] = []
    at = 0  # step of the training line before
    for line in lines:
        if not line.endswith(b'\n'):  # cut short as the run was killed
            break
        try:
            record = strict_json.loads_numbers(line)
            trains = 'epoch' in record
            at = record['step'] if trains else at
        except (LookupError, TypeError, ValueError):  # or as the disk was full
            continue
        while trains and kept and kept[-1][0] >= at:
            kept.pop()
        if b'NaN' in line or b'Infinity' in line:  # older versions wrote them bare
            line = strict_json.dumps(record).encode() + b'\n'
        kept.append((at, trains, line))
    return [line for at, trains, line in kept if at < step or (at == step and trains)]
