"""The page of a run in its work dir, kept up to date while it trains."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.device import get_device
from mmengine.hooks import Hook
from PIL import Image

from mae.engine.history import keeps_scalars
from mae.engine.hooks.dense_report import DenseReportHook
from mae.engine.run_sample import RunSample, knn_size
from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS
from mae.utils.errors import ConfigError
from mae.utils.files import whole_file, write_text
from mae.utils.ratio import evenly_spaced
from mae.utils.sharded import is_sharded
from mae.utils.versions import versions
from mae.visualization.clock import this_moment
from mae.visualization.model_panels import predicts_patch_stats, why_no_pictures
from mae.visualization.panels import Panel, plain_sheet
from mae.visualization.runs.facts import commands_of, kind_of
from mae.visualization.runs.logs import SCALARS
from mae.visualization.runs.page import run_report
from mae.visualization.runs.record import RunFacts, picture_path, read_record, write_facts
from mae.visualization.sheets import contact_sheet

_SHARE = 0.002  # of the images of a run that the features may cost, as training does
_COST = 0.9  # of an image's training, in a small model: the encoder forward on all of its patches
_FEWEST = 32  # samples
# Steps to a picture at least: in a small model one costs .7 of a step, so .23 % of the run.
_STEPS_A_PICTURE = 300
_FEWEST_PICTURES = 4
_REST = 400  # times what a page took to make, until the next: .25 % of the time


@HOOKS.register_module()
class RunReportHook(Hook):
    """Keeps `report.html` in the work dir: curves, pictures, features, speed, config, commands.

    The page is written anew at the end of epochs and after validations, at most every `seconds`,
    and when the run ends. Of a pre-training, some images are reconstructed after some of the
    epochs, and the features of a sample are evaluated: its RankMe and, with labels, k-NN of one
    half by the other. The images are the same each time, of the validation data if there are any.
    The visualizer gets the pictures too, as `reconstructions`, and the scalars, for TensorBoard and
    its like. The first process does all of it; nothing in the run depends on it, and an error is
    logged once and does not stop the run.

    A run with `DenseReportHook` whose validation gives label maps or objects has the page of that
    hook, to which this one adds curves of training, speed, config and commands.

    Args:
        seconds: least time between two pages during the run.
        num_images: rows of pictures; 0: none.
        num_samples: most images whose features are evaluated; 0: none. Fewer, and less often, in a
            short run, where they would cost more than .2 % of it; but at least 32, or with classes
            what k-NN needs, and twice.
        num_looks: after how many epochs pictures and features are taken, from first to last epoch,
            at least 2. Pictures are fewer in a short run, one for every 300 steps, but at least 4.

    Raises:
        ConfigError: a number is out of its range.
    """

    priority = 'VERY_LOW'  # behind the logger, whose lines it reads
    needs_train_loop = True

    def __init__(
        self,
        *,
        seconds: float = 30.0,
        num_images: int = 4,
        num_samples: int = 256,
        num_looks: int = 12,
    ) -> None:
        if seconds < 0 or num_images < 0 or num_samples < 0 or num_looks < 2:
            raise ConfigError(
                'default_hooks.run_report needs seconds, num_images and num_samples from 0 on and '
                f'num_looks from 2 on, not {seconds}, {num_images}, {num_samples} and {num_looks}'
            )
        self.seconds = seconds
        self.num_images = num_images
        self.num_samples = num_samples
        self.num_looks = num_looks
        self._folder: Path | None = None  # None: this process writes nothing
        self._facts = RunFacts('', '')
        self._looks: set[int] = set()  # numbers of epochs, from 1, after which pictures are taken
        self._evaluations: set[int] = set()  # likewise of features
        self._size = 0  # of the sample
        self._sample: RunSample | None = None  # read when it is needed first
        self._next = 0.0
        self._has_warned = False

    def before_train(self, runner: TrainingRunner) -> None:
        """Note what the page says about the run."""
        folder = Path(runner.log_dir, 'vis_data')
        if runner.rank:
            return
        if not keeps_scalars(runner):
            runner.logger.warning(
                'no report.html: it needs the scalars of a LocalVisBackend in '
                'visualizer.vis_backends'
            )
            return
        self._next = time.monotonic() + self.seconds
        with self._no_error_matters(runner):
            self._facts = self._facts_of(runner)
            if not _has_dense_page(runner):
                self._folder = folder
                self._choose_looks(runner)
            write_facts(folder, self._facts)

    def after_train_epoch(self, runner: TrainingRunner) -> None:
        """Look at pictures and features, if this is one of the epochs; then at the page."""
        if self._folder is None:
            return
        if runner.epoch + 1 in self._looks | self._evaluations:
            with self._no_error_matters(runner):
                self._look(runner)
        self._refresh(runner)

    def after_val_epoch(
        self, runner: TrainingRunner, metrics: Mapping[str, float] | None = None
    ) -> None:
        self._refresh(runner)

    def after_step(self, runner: TrainingRunner) -> None:
        """In long epochs, too."""
        if self._folder is not None and time.monotonic() >= self._next:
            self._refresh(runner)

    def after_all(self, runner: TrainingRunner) -> None:
        """Write the page once more, however the run ended."""
        self._next = 0.0
        self._refresh(runner)

    def _choose_looks(self, runner: TrainingRunner) -> None:
        """Choose epochs and the number of images, as the length of the run allows."""
        facts, model = self._facts, runner.bare_model
        if not hasattr(model, 'reconstruct') or facts.notes:
            return
        kind, dataset = _looked_at(runner)
        classes = getattr(dataset, 'metainfo', {}).get('classes') or ()
        needed = knn_size(len(classes))
        fewest = max(_FEWEST, needed if needed <= self.num_samples else 0)
        most = _SHARE / _COST * facts.images_per_step * runner.max_iters
        count = int(min(max(most / fewest, 2), self.num_looks))
        size = min(self.num_samples, max(round(most / count), fewest))
        self._size = min(max(size, self.num_images), len(dataset))
        if not self._size:
            return
        pictures = max(runner.max_iters // _STEPS_A_PICTURE, _FEWEST_PICTURES)
        self._looks = _spread(runner.max_epochs, min(pictures, self.num_looks))
        self._evaluations = _spread(runner.max_epochs, count) if self.num_samples else set()
        can_show = not why_no_pictures(model) and model.encoder.in_channels in (1, 3)
        self._facts = replace(
            facts,
            sample=f'{self._size} {kind} images',
            num_pictures=min(self.num_images, self._size) if can_show else 0,
            has_two_ways=can_show and not predicts_patch_stats(model),
        )

    def _facts_of(self, runner: TrainingRunner) -> RunFacts:
        config, work_dir = runner.cfg, Path(runner.work_dir)
        name = Path(config.filename).stem if config.filename else runner.experiment_name
        parent, differences = _origin_of(runner)
        return RunFacts(
            title=name,
            kind=kind_of(config),
            seed=runner.seed,
            max_steps=runner.max_iters,
            steps_per_epoch=len(runner.train_dataloader),
            images_per_step=runner.train_loop.dataloader.step_size(0),
            devices=f'{runner.world_size} x {get_device().upper()}',
            parent=parent,
            differences=differences,
            versions=list(versions().items()),
            commands=commands_of(config, work_dir / f'{name}.py', work_dir),
            notes=[why] if (why := _why_no_looks(runner)) else [],
        )

    def _look(self, runner: TrainingRunner) -> None:
        """Reconstruct the images and evaluate the features, for the page and the visualizer."""
        if self._sample is None:
            self._sample = RunSample(_looked_at(runner)[1], self._size)
        step, count = runner.iter, min(self._facts.num_pictures, len(self._sample.images))
        if count and runner.epoch + 1 in self._looks:
            panels = self._sample.panels(runner, count)
            self._keep_pictures(panels, step)
            sheet = np.asarray(contact_sheet(panels))
            runner.visualizer.add_image('reconstructions', sheet, step=step)
        if runner.epoch + 1 not in self._evaluations:
            return
        if figures := self._sample.figures(runner):
            runner.visualizer.add_scalars(dict(figures), step=step)
            words = '  '.join(f'{name}: {value:.2f}' for name, value in figures.items())
            runner.logger.info(f'Epoch(report) [{runner.epoch + 1}]  {words}')

    def _keep_pictures(self, panels: list[Panel], step: int) -> None:
        assert self._folder is not None
        with whole_file(picture_path(self._folder, step), flush=False) as file:
            Image.fromarray(plain_sheet(panels)).save(file, format='PNG')

    @contextmanager
    def _no_error_matters(self, runner: TrainingRunner) -> Iterator[None]:
        """Log an error, once: whatever a page cannot show, a model or a dataset of others."""
        try:
            yield
        except Exception as error:  # the run is worth more than its report
            if not self._has_warned:
                runner.logger.warning(
                    f'report.html is not up to date ({type(error).__name__}: {error}); training '
                    'goes on without it'
                )
            self._has_warned = True

    def _refresh(self, runner: TrainingRunner) -> None:
        if self._folder is None or time.monotonic() < self._next:
            return
        start = time.monotonic()
        with self._no_error_matters(runner):
            if (self._folder / SCALARS).is_file():
                page = run_report(read_record(self._folder, self._facts), this_moment())
                write_text(Path(runner.work_dir, 'report.html'), page)
        end = time.monotonic()
        self._next = end + max(self.seconds, _REST * (end - start))


def _spread(last: int, count: int) -> set[int]:
    """Numbers from 1 to the last, so many at most, evenly."""
    return {max(1, number) for number in evenly_spaced(last + 1, count)}


def _looked_at(runner: TrainingRunner) -> tuple[str, Any]:
    """The dataset whose images are looked at, and whether it is of 'training' or 'validation'."""
    if runner.val_loop is None:
        return 'training', runner.train_dataloader.dataset
    return 'validation', runner.val_dataloader.dataset


def _has_dense_page(runner: TrainingRunner) -> bool:
    """Whether `DenseReportHook` writes the page."""
    if runner.val_loop is None or not any(isinstance(h, DenseReportHook) for h in runner.hooks):
        return False
    return getattr(runner.val_dataloader.dataset, 'has_targets', False)


def _origin_of(runner: TrainingRunner) -> tuple[str, Sequence[Sequence[str]]]:
    """What the config inherits; nothing where a file of it has changed and cannot be read."""
    try:
        return ('', []) if runner.config_origin is None else runner.config_origin()
    except ConfigError:
        return '', []


def _why_no_looks(runner: TrainingRunner) -> str:
    if is_sharded(runner.model) and hasattr(runner.bare_model, 'reconstruct'):
        return 'no pictures and features: the first process has only a part of the sharded model'
    return ''
