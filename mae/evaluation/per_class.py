"""Accuracy of each class, confusion matrix, and the mistakes with the highest softmax score.

Shapes: B images, N classes, K mistakes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mae.evaluation.accuracy import check_logits, known_and_finite, logits_and_labels
from mae.evaluation.checks import is_count
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError

# More classes than this have no confusion matrix: its size is their square.
_MOST_IN_MATRIX = 2000


@METRICS.register_module()
class PerClass(BaseMetric):
    """Mean per-class accuracy, and a table of all classes.

    A class without images is not part of the mean. A tie counts against the label, as in
    `Accuracy`: the prediction is then another of the classes with the largest logit. Images without
    a label in 0..N-1, or with a logit that is NaN or infinite, are left out here; `Accuracy`
    refuses them.

    `tools/test.py` writes the table into the work dir, as `per_class.json` and pictures.

    Args:
        num_mistakes: K, how many mistakes are listed, those with the highest score first.

    Attributes:
        table: of the last evaluation, on every process; see `evaluate`.

    Raises:
        ConfigError: `num_mistakes` is below 1.
    """

    default_prefix = ''
    reads_batches = True  # see `Evaluator`

    def __init__(self, num_mistakes: int = 24) -> None:
        super().__init__()
        if not is_count(num_mistakes):
            raise ConfigError(f'PerClass.num_mistakes must be at least 1, not {num_mistakes!r}')
        self.num_mistakes = num_mistakes
        self.table: dict[str, Any] | None = None
        self._counts: Tensor | None = None  # N,2: hits, images
        self._matrix: Tensor | None = None  # N,N: labels by predictions
        self._mistakes: Tensor | None = None  # K,4: score, id, label, prediction

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Count a batch: `logits` (B, N) and `labels` (B,), with the batch's `ids` (B,).

        Raises:
            ConfigError: the model is no classifier.
            ValueError: logits or labels have other shapes.
        """
        for sample in data_samples:
            logits, labels = logits_and_labels(sample, type(self).__name__)
            check_logits(logits, labels, type(self).__name__)
            known, finite = known_and_finite(logits, labels)
            sound, own = known & finite, labels.long().clamp(0, logits.shape[1] - 1)
            prediction = _prediction(logits, own)
            self._count(own, prediction, sound, logits.shape[1])
            ids = sample.get('ids', (data_batch or {}).get('ids'))
            score = logits.float().softmax(1).gather(1, prediction[:, None])[:, 0]
            score = score.where(sound & (prediction != own), -1)
            ids = torch.full_like(own, -1) if ids is None else ids.to(own.device, non_blocking=True)
            rows = torch.stack([score.double(), ids.double(), own.double(), prediction.double()], 1)
            seen = rows if self._mistakes is None else torch.cat([self._mistakes, rows])
            self._mistakes = _surest(seen, self.num_mistakes)

    def _count(self, own: Tensor, prediction: Tensor, sound: Tensor, num_classes: int) -> None:
        weight = sound.long()
        if self._counts is None:
            self._counts = own.new_zeros(num_classes, 2)
            if num_classes <= _MOST_IN_MATRIX:
                self._matrix = own.new_zeros(num_classes, num_classes)
        hits = weight * (prediction == own)
        self._counts.index_add_(0, own, torch.stack([hits, weight], 1))
        if self._matrix is not None:
            self._matrix.view(-1).index_add_(0, own * num_classes + prediction, weight)

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes, and fill `table`.

        The table has `mean_per_class`; `classes`, a list of dict(class, label, images, top1), the
        latter None without images; `confusion`, N lists of N numbers of images, labels by
        predictions, or None of too many classes; `mistakes`, a list of dict(id, label, prediction,
        score), the surest first.

        Returns:
            `mean_per_class` in percent.

        Raises:
            DataError: there was no image with a label.
        """
        if self._counts is None or self._mistakes is None:
            raise DataError('there is nothing to evaluate: the data loader gave no batch')
        counts, matrix, mistakes = self._counts, self._matrix, self._mistakes
        self._counts = self._matrix = self._mistakes = None
        all_reduce(counts)
        if matrix is not None:
            all_reduce(matrix)
        gathered = torch.cat(all_gather(_padded(mistakes, self.num_mistakes)))
        names = (self.dataset_meta or {}).get('classes') or ()
        rows = [
            {
                'class': names[label] if label < len(names) else str(label),
                'label': label,
                'images': images,
                'top1': 100 * hits / images if images else None,
            }
            for label, (hits, images) in enumerate(counts.tolist())
        ]
        found = [row['top1'] for row in rows if row['top1'] is not None]
        if not found:
            raise DataError('there is nothing to evaluate: no image has a label')
        mean = sum(found) / len(found)
        self.table = {
            'mean_per_class': mean,
            'classes': rows,
            'confusion': None if matrix is None else matrix.tolist(),
            'mistakes': _listed(_surest(gathered, self.num_mistakes)),
        }
        return {'mean_per_class': mean}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('PerClass counts instead of collecting')


def _prediction(logits: Tensor, own: Tensor) -> Tensor:
    """The label (B,) if its logit is the largest alone, else the largest of the others."""
    index = own[:, None]
    highest, other = logits.scatter(1, index, -torch.inf).max(1)
    return own.where(logits.gather(1, index)[:, 0] > highest, other)


def _surest(rows: Tensor, count: int) -> Tensor:
    """The rows of the highest score, the lower id first of equal ones: in any order the same."""
    rows = rows[rows[:, 1].argsort(stable=True)]
    return rows[rows[:, 0].argsort(stable=True, descending=True)][:count]


def _padded(rows: Tensor, count: int) -> Tensor:
    """As many rows on each process, as gathering needs."""
    empty = rows.new_full((count - len(rows), rows.shape[1]), -1)
    return torch.cat([rows, empty])


def _listed(rows: Tensor) -> list[dict[str, Any]]:
    names = ('id', 'label', 'prediction')
    return [
        {**dict(zip(names, map(int, row[1:]), strict=True)), 'score': row[0]}
        for row in rows.tolist()
        if row[0] >= 0
    ]
