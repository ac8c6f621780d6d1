"""When checkpoints are written and which are kept."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mae.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Saves every few epochs or iterations, at the end, and the best so far.

    A checkpoint is written whole, then `last_checkpoint` names it, and only then older ones go.

    Args:
        interval: epochs, or iterations with `by_epoch=False`, between checkpoints.
        by_epoch: what `interval` counts.
        max_keep: newest checkpoints kept; -1 keeps all.
        save_best: name of a validation metric (higher is better) whose best is kept besides.

    Raises:
        ValueError: `interval` or `max_keep` make no sense.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        *,
        by_epoch: bool = True,
        max_keep: int = 2,
        save_best: str | None = None,
    ) -> None:
        if interval < 1 or max_keep == 0 or max_keep < -1:
            raise ValueError(
                'default_hooks.checkpoint needs interval >= 1 and max_keep >= 1 (or -1 for all), '
                f'not interval={interval} and max_keep={max_keep}'
            )
        self.interval = interval
        self.by_epoch = by_epoch
        self.max_keep = max_keep
        self.save_best = save_best
        self.best: float | None = None

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        done = runner.iter + 1
        if not self.by_epoch and (done % self.interval == 0 or done == runner.max_iters):
            self._save(runner, f'iter_{done}.pth', step=done)

    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        if self.by_epoch and (done % self.interval == 0 or done == runner.max_epochs):
            self._save(runner, f'epoch_{done}.pth', step=runner.iter)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if self.save_best is None or not metrics or not _is_training(runner):
            return
        if self.save_best not in metrics:
            raise ValueError(
                f'default_hooks.checkpoint.save_best={self.save_best!r} is not among the '
                f'validation metrics {", ".join(metrics)}'
            )
        if self.best is None or metrics[self.save_best] > self.best:
            self.best = metrics[self.save_best]
            runner.save_checkpoint(runner.work_dir, 'best.pth', step=runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint['meta']['best'] = self.best

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.best = checkpoint.get('meta', {}).get('best')

    def _save(self, runner: Any, name: str, step: int) -> None:
        runner.save_checkpoint(runner.work_dir, name, step=step)
        if not is_main_process():
            return
        work_dir = Path(runner.work_dir)
        pointer = work_dir / '.last_checkpoint'
        pointer.write_text(str(work_dir / name))
        pointer.replace(work_dir / 'last_checkpoint')
        if self.max_keep > 0:
            for path in _by_age(work_dir)[: -self.max_keep]:
                path.unlink()


def _is_training(runner: Any) -> bool:
    return bool(runner.iter)


def _by_age(work_dir: Path) -> list[Path]:
    """Periodic checkpoints, oldest first."""
    paths = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)
