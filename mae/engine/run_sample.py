"""A few fixed images of a run's data, looked at again and again while a model learns.

Shapes: B images, M of the sample, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mae.engine.compile import without_recompiling
from mae.evaluation.effective_rank import rankme
from mae.evaluation.knn_evaluation import features_of
from mae.evaluation.probes import KNNProbe
from mae.utils.errors import DataError
from mae.utils.ratio import evenly_spaced
from mae.utils.runner_protocol import RunnerProtocol
from mae.utils.seeding import generators_kept
from mae.visualization.model_panels import model_panels
from mae.visualization.panels import Panel

_BATCH = 32
_NEIGHBOURS = 5
_FEWEST_OF_A_CLASS = 4  # in each half, in the mean: with less, k-NN says nothing


class RunSample:
    """Samples of a dataset, spread evenly over it; images that cannot be read are left out.

    Training images are augmented as in epoch 0 of seed 0, each time alike.

    Args:
        dataset: with samples of `inputs` uint8 or uint16 (C, H, W) and `label`, by number.
        size: at most so many.

    Attributes:
        images: uint8 or uint16 (M, C, H, W).
        labels: int64 (M,), -1 where there is none.

    Raises:
        DataError: none of the images can be read.
        RuntimeError: they differ in shape.
    """

    def __init__(self, dataset: Any, size: int) -> None:
        numbers = evenly_spaced(len(dataset), size)
        found = [sample for number in numbers for sample in _read(dataset, number)]
        if not found:
            raise DataError('no image of the sample can be read')
        self.images = torch.stack([sample['inputs'] for sample in found])
        self.labels = torch.tensor([int(sample['label']) for sample in found])

    @property
    def has_classes(self) -> bool:
        """Whether k-NN of one half by the other says something."""
        halves = self.labels[::2], self.labels[1::2]
        classes = len(self.labels.unique())
        few = any(len(half) < max(_FEWEST_OF_A_CLASS * classes, _NEIGHBOURS) for half in halves)
        return classes > 1 and not few and int(self.labels.min()) >= 0

    @torch.inference_mode()
    def panels(self, runner: RunnerProtocol, count: int) -> list[Panel]:
        """Pictures of some of the images, spread evenly over the sample, as they are reconstructed.

        The first reconstruction uses nothing that was hidden; a second one, where the model
        predicts normalised pixels, has the mean and deviation of the true patches.
        """
        count = min(count, len(self.images))
        rows = [round((i + 0.5) * len(self.images) / count - 0.5) for i in range(count)]
        with _evaluating(runner), without_recompiling(True), runner.eval_context(count):
            images = self.images[rows]
            return model_panels(runner.bare_model, images, patch_stats=['visible', 'true'])

    @torch.inference_mode()
    def figures(self, runner: RunnerProtocol) -> dict[str, float]:
        """RankMe and, with labels, the share in percent that k-NN classifies rightly, by name."""
        parts = []
        with _evaluating(runner):
            for start in range(0, len(self.images), _BATCH):
                images = self.images[start : start + _BATCH]
                batch = {'inputs': images, 'labels': self.labels[start : start + _BATCH]}
                with without_recompiling(True), runner.eval_context(len(images)):
                    parts.append(features_of(runner.bare_model, batch, 'avg')[0].float().cpu())
        features = torch.cat(parts)  # M,D
        if not features.isfinite().all():
            return {}
        found = {'features/rankme': rankme(features)}
        if self.has_classes:
            found['features/knn'] = _knn(features, self.labels)
        return found


def knn_size(num_classes: int) -> int:
    """Images that k-NN of one half by the other needs for so many classes; 0 for fewer than two."""
    return 2 * max(_FEWEST_OF_A_CLASS * num_classes, _NEIGHBOURS) if num_classes > 1 else 0


def _knn(features: Tensor, labels: Tensor) -> float:
    scorer = KNNProbe(_NEIGHBOURS).fit(features[::2], labels[::2])
    return 100 * float((scorer(features[1::2]).argmax(1) == labels[1::2]).double().mean())


def _read(dataset: Any, number: int) -> Iterator[dict[str, Any]]:
    try:
        yield dataset[number]
    except DataError:
        return


@contextmanager
def _evaluating(runner: RunnerProtocol) -> Iterator[None]:
    """The model in evaluation mode, and the generators' state as it was afterwards."""
    model = runner.model
    was_training = model.training
    with generators_kept():
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
