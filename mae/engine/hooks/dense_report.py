"""A page with pictures after each validation of a segmenter or detector."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from mae.registry import HOOKS
from mae.utils.files import write_text
from mae.utils.runner_protocol import RunnerProtocol
from mae.visualization.dense import DenseView, can_be_drawn, dense_sheet, views_of
from mae.visualization.dense_report import (
    DenseResult,
    colours_of,
    dense_report,
    draw_cards,
    write_result,
)
from mae.visualization.runs.logs import SCALARS
from mae.visualization.runs.record import read_facts, read_steps, record_of


@HOOKS.register_module()
class DenseReportHook(Hook):
    """Writes `report.html` into the work dir: predictions beside the truth, and metrics so far.

    The images are the first of the validation data of the first process, the same each time. The
    visualizer gets them as one picture, `predictions`, for TensorBoard and its like;
    `vis_data/predictions.json` keeps them for `mae report`. A run whose validation gives neither
    label maps nor objects is left alone. An error of the disk is logged and does not stop the run.

    Args:
        num_images: that are shown, at least 1.
        min_score: of a detection that is drawn, 0 to 1.

    Raises:
        ValueError: an option is out of its range.
    """

    priority = 'VERY_LOW'  # behind the logger, whose lines it reads

    def __init__(self, num_images: int = 6, min_score: float = 0.5) -> None:
        if num_images < 1 or not 0 <= min_score <= 1:
            raise ValueError(
                'DenseReportHook needs num_images from 1 on and min_score in 0..1, not '
                f'{num_images!r} and {min_score!r}'
            )
        self.num_images = num_images
        self.min_score = min_score
        self._views: list[DenseView] = []

    def before_val_epoch(self, runner: RunnerProtocol) -> None:
        """Forget the pictures of the last validation."""
        self._views = []

    def after_val_iter(
        self,
        runner: RunnerProtocol,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Keep the first images with what was found in them, as arrays on the CPU."""
        wanted = self.num_images - len(self._views)
        if runner.rank or not wanted or not can_be_drawn(data_batch, outputs or ()):
            return
        views = views_of(data_batch, outputs or (), min_score=self.min_score)
        self._views += islice(views, wanted)

    def after_val_epoch(
        self, runner: RunnerProtocol, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Write the page."""
        if not self._views:
            return
        views, self._views = self._views, []
        names = _class_names(runner)
        folder = Path(runner.log_dir, 'vis_data')
        result = DenseResult(
            title=runner.experiment_name,
            step=runner.iter,
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            cards=draw_cards(views, names),
            colours=colours_of(views, names),
            facts=_facts(runner),
        )
        try:
            if folder.is_dir():  # the run has a LocalVisBackend
                write_result(folder, result)
            write_text(Path(runner.work_dir, 'report.html'), _page(folder, result))
            sheet = np.asarray(dense_sheet(views, names))
            runner.visualizer.add_image('predictions', sheet, step=runner.iter)
        except (OSError, ValueError) as error:
            runner.logger.warning(f'no report.html ({error}); training goes on without it')


def _page(folder: Path, result: DenseResult) -> str:
    """With curves and tables of training if the run has `RunReportHook` and has logged a line."""
    records = read_steps(folder) if (folder / SCALARS).is_file() else []
    facts = read_facts(folder)
    run = record_of(folder, facts, records) if facts is not None and records else None
    return dense_report(result, records, run)


def _class_names(runner: RunnerProtocol) -> list[str]:
    known = getattr(runner.val_dataloader.dataset, 'metainfo', {}).get('classes') or ()
    number = max(len(known), getattr(runner.bare_model, 'num_classes', 0))
    return [*map(str, known), *map(str, range(len(known), number))]


def _facts(runner: RunnerProtocol) -> dict[str, str]:
    facts = {
        'config': Path(runner.cfg.filename or runner.experiment_name).name,
        'work dir': runner.work_dir,
        'seed': str(runner.seed),
        'processes': str(runner.world_size),
    }
    if runner.resumed_from:
        facts['resumed from'] = runner.resumed_from
    return facts
