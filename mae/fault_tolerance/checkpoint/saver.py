"""How the state of a run becomes a checkpoint: copied at once, written beside the training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mae.fault_tolerance.checkpoint.commit import Pruner, commit
from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.checkpoint.manifest import Unverifiable, read_manifest
from mae.fault_tolerance.checkpoint.snapshot import Snapshot
from mae.fault_tolerance.checkpoint.store import BEST
from mae.fault_tolerance.checkpoint.writer import BACK_OFF, Writer


class Saver:
    """Saves the checkpoints of one run, in its first process.

    The training waits for the copy alone, and for the save before.

    Args:
        max_keep: newest checkpoints kept; -1 keeps all.
        back_off: seconds between attempts where the disk refuses.

    Attributes:
        writer: does the saves.
        kept: checkpoints that stay at least.
    """

    def __init__(self, max_keep: int, back_off: Sequence[float] = BACK_OFF) -> None:
        self.writer = Writer(back_off)
        self._pruner = Pruner(max_keep) if max_keep > 0 else None
        self.kept = 2 if self._pruner is None else self._pruner.max_keep
        self._snapshot = Snapshot()
        self._taken: tuple[int, Checkpoint] | None = None  # what the snapshot holds, of which step
        self._start: int | None = None  # first step of this continuation, until its first save
        self._is_best_own = False  # `best.pth` is of this continuation of the run

    def begin_continuation(self, work_dir: Path, start: int, best: float | None) -> float | None:
        """The run goes on from a step: at the next save, later checkpoints are set aside.

        Args:
            work_dir: of the run.
            start: the step.
            best: the best metric until then, as the checkpoint of that step knows it.

        Returns:
            The best metric that counts. `best.pth` may be newer than the checkpoint; one of a
            later step was measured by another continuation, and took the place of ours.
        """
        self._start, self._taken, self._is_best_own = start, None, False
        try:
            record = read_manifest(work_dir / BEST).content
        except Unverifiable:
            return best
        if record.step > start:
            return None
        if not start or record.best is None:
            return best
        self._is_best_own = True
        return record.best if best is None else max(best, record.best)

    def save(self, runner: Any, name: str, step: int) -> None:
        """Write the state after `step` steps beside the training, as `name` in the work dir."""
        self.writer.make_room()  # the snapshot is written over
        self.writer.submit(name, self._job(runner, name, self._take(runner, step)))

    def save_best(self, runner: Any, step: int, best: float) -> None:
        """The same as `best.pth`; `best` is its metric.

        If that step is being written already, the best follows it, and nobody waits.
        """
        if self._taken is not None and self._taken[0] == step:
            checkpoint = self._taken[1]
            checkpoint = {**checkpoint, 'meta': {**checkpoint['meta'], 'best': best}}
        else:
            self.writer.make_room(give_up=False)  # this does not make up for a numbered one
            checkpoint = self._take(runner, step)
        self.writer.submit(BEST, self._job(runner, BEST, checkpoint), kind='best')

    def save_at_once(self, runner: Any, name: str, step: int) -> None:
        """Write the state after `step` steps, and wait until it is on the disk.

        Raises:
            SaveError: the disk refused at every attempt.
        """
        self.writer.make_room()
        self.writer.run(name, self._job(runner, name, self._take(runner, step)))

    def _take(self, runner: Any, step: int) -> Checkpoint:
        checkpoint: Checkpoint = self._snapshot.take(runner.training_checkpoint(step))
        self._taken = (step, checkpoint)
        return checkpoint

    def _job(self, runner: Any, name: str, checkpoint: Checkpoint) -> Callable[[], list[str]]:
        """What is left to do with a copy of the state."""
        path = Path(runner.work_dir) / name
        start = self._start

        def save() -> list[str]:
            later = commit(checkpoint, path, self._pruner, start, keep_best=self._is_best_own)
            if name == BEST:
                self._is_best_own = True
            else:
                self._start = None
            told = f'{", ".join(later)}: of another continuation of this run, set aside'
            return [told] if later else []

        return save
