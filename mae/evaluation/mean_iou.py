"""Mean intersection over union of label maps, each pixel counted once on any number of processes.

Shapes: H W pixels, N classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mae.evaluation.checks import check_tensor, class_name, is_count, is_whole, type_and_shape
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError


@METRICS.register_module()
class MeanIoU(BaseMetric):
    """Mean over the classes of the intersection over union, from counts of the whole set.

    The counts of all images are added up before anything is divided, as in the benchmarks of
    ADE20K and ImageNet-S; a mean of the images' own values is another, higher number. A class that
    occurs neither in a map nor in a prediction has no IoU and is left out of the mean.

    Args:
        ignore_index: label of pixels that count nowhere.
        per_class: also report `iou_<class>` of every class that occurs.

    Attributes:
        table: of the last evaluation: a dict(class, label, iou, accuracy, pixels) for each class,
            in percent, None where a class does not occur; `pixels` are those of the label maps.

    Raises:
        ConfigError: `ignore_index` is no whole number.
    """

    default_prefix = ''
    reads_batches = True  # see `Evaluator`

    def __init__(self, ignore_index: int = 255, *, per_class: bool = False) -> None:
        super().__init__()
        if not isinstance(ignore_index, int) or isinstance(ignore_index, bool):
            raise ConfigError(f'MeanIoU.ignore_index must be a whole number, not {ignore_index!r}')
        self.ignore_index = ignore_index
        self.per_class = per_class
        self.table: list[dict[str, Any]] | None = None
        self._counts: Tensor | None = None
        self._num_images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: unused.
            data_samples: dicts with `pred_maps` and `maps`, lists of whole-number maps (H, W), each
                pair of one size, and `num_classes`, N.

        Raises:
            ConfigError: the model gives no label maps.
            ValueError: a map of another shape or type.
        """
        for sample in data_samples:
            if 'pred_maps' not in sample or 'maps' not in sample:
                raise ConfigError(
                    f'MeanIoU needs the pred_maps and maps of a segmenter; this model gives '
                    f'{", ".join(sample)}'
                )
            num_classes = sample['num_classes']
            for pred, label in zip(sample['pred_maps'], sample['maps'], strict=True):
                counts = count_pixels(pred, label, num_classes, self.ignore_index)
                self._counts = counts if self._counts is None else self._counts + counts
                self._num_images += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            `miou`, `mean_accuracy` (over the classes, of their pixels found) and `pixel_accuracy`
            in percent, `num_images`, and with `per_class` the IoU of each.

        Raises:
            DataError: nothing to evaluate, or labels that are neither a class nor ignored.
        """
        if self._counts is None:
            raise DataError('there is nothing to evaluate: the data loader gave no batch')
        counts, self._counts = self._counts, None
        num_images = torch.tensor(self._num_images, device=counts.device)
        self._num_images = 0
        all_reduce(counts)
        all_reduce(num_images)
        unknown, counts = int(counts[-1]), counts[:-1].reshape(3, -1)
        if unknown:
            raise DataError(
                f'{unknown} pixels of the label maps are neither a class of the '
                f'{counts.shape[1]} nor ignore_index={self.ignore_index}'
            )
        hits, predicted, labelled = counts.double()
        if not labelled.sum():
            raise DataError('there is nothing to evaluate: every pixel is ignored')
        union = predicted + labelled - hits
        iou = 100 * hits / union  # NaN where a class occurs nowhere
        metrics = {
            'miou': iou[union > 0].mean().item(),
            'mean_accuracy': (100 * hits / labelled)[labelled > 0].mean().item(),
            'pixel_accuracy': (100 * hits.sum() / labelled.sum()).item(),
            'num_images': float(num_images),
        }
        self.table = self._rows(iou, 100 * hits / labelled, labelled)
        if self.per_class:
            seen = [row for row in self.table if row['iou'] is not None]
            metrics |= {f'iou_{row["class"]}': row['iou'] for row in seen}
        return metrics

    def _rows(self, iou: Tensor, accuracy: Tensor, pixels: Tensor) -> list[dict[str, Any]]:
        columns = zip(iou.tolist(), accuracy.tolist(), pixels.tolist(), strict=True)
        return [
            {
                'class': class_name(self.dataset_meta, label),
                'label': label,
                'iou': None if math.isnan(own) else own,
                'accuracy': None if math.isnan(found) else found,
                'pixels': int(number),
            }
            for label, (own, found, number) in enumerate(columns)
        ]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('MeanIoU counts instead of collecting')


def count_pixels(pred: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Counts of one map, without waiting for the device.

    Args:
        pred: whole numbers in 0..N-1, (H, W).
        label: whole numbers (H, W): a class, or `ignore_index`.
        num_classes: N.
        ignore_index: label of pixels that count nowhere.

    Returns:
        int64 (3 N + 1,): per class the pixels that both have, those predicted, those labelled, all
        without the ignored; then the pixels whose label is neither a class nor ignored.

    Raises:
        ValueError: not two maps of one size of whole numbers.
    """
    check_tensor('the prediction', pred)
    check_tensor('the label map', label)
    if pred.shape != label.shape or pred.ndim != 2 or not (is_whole(pred) and is_whole(label)):
        raise ValueError(
            f'MeanIoU takes whole numbers (H, W) of one size, not {type_and_shape(pred)} for '
            f'a map {type_and_shape(label)}'
        )
    if not is_count(num_classes):
        raise ValueError(f'num_classes must be a whole number from 1 on, not {num_classes!r}')
    pred, label = pred.long(), label.long()
    known = (label >= 0) & (label < num_classes) & (label != ignore_index)
    unknown = (~known & (label != ignore_index)).sum()[None]
    # A bin behind the last class takes what does not count: indexing by a mask would wait.
    rest = torch.full_like(label, num_classes)
    groups = (
        torch.where(known & (pred == label), label, rest),
        torch.where(known, pred, rest),
        torch.where(known, label, rest),
    )
    zeros = label.new_zeros(num_classes + 1)
    ones = torch.ones_like(label).flatten()
    counts = [zeros.scatter_add(0, group.flatten(), ones)[:num_classes] for group in groups]
    return torch.cat([*counts, unknown])
