"""Writes the results of `PerClass` into the work dir."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import Tensor

from mae.datasets.transforms.base import to_tensor
from mae.evaluation import AveragePrecision, MeanIoU, PerClass
from mae.utils.files import whole_file, write_json
from mae.visualization.panels import Pixels
from mae.visualization.per_class import confusion_picture, mistakes_picture


def write_per_class(metrics: Sequence[Any], dataset: Any, folder: Path) -> None:
    """Write `per_class.json`, `confusion.png` and `mistakes.png`, if `PerClass` was evaluated.

    Only the first process writes.

    Args:
        metrics: those of the evaluator, after `evaluate`.
        dataset: the evaluated one, which has the images and paths of the mistakes.
        folder: work dir.
    """
    tables = [m.table for m in metrics if isinstance(m, PerClass) and m.table is not None]
    if not tables or not is_main_process():
        return
    table = tables[0]
    mistakes = [_with_path(mistake, dataset) for mistake in table['mistakes']]
    write_json(folder / 'per_class.json', {**table, 'mistakes': mistakes})
    names = [row['class'] for row in table['classes']]
    written = ['per_class.json']
    if table['confusion'] is not None:
        _save(confusion_picture(table['confusion'], names), folder / 'confusion.png')
        written.append('confusion.png')
    images = [_pixels(dataset, mistake['id']) for mistake in mistakes]
    shown = [(image, m) for image, m in zip(images, mistakes, strict=True) if image is not None]
    if shown:
        captions = [_caption(mistake, names) for _, mistake in shown]
        _save(mistakes_picture([image for image, _ in shown], captions), folder / 'mistakes.png')
        written.append('mistakes.png')
    print_log(f'per class: {", ".join(written)} in {folder}', 'current')


def dense_tables(metrics: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each class, under 'iou', 'box_ap' or 'mask_ap', of what was evaluated."""
    tables = {}
    for metric in metrics:
        if isinstance(metric, MeanIoU | AveragePrecision) and metric.table is not None:
            name = 'iou' if isinstance(metric, MeanIoU) else f'{metric.iou}_ap'
            tables[name] = metric.table
    return tables


def _with_path(mistake: Mapping[str, Any], dataset: Any) -> dict[str, Any]:
    known = hasattr(dataset, 'name') and mistake['id'] >= 0
    return {**mistake, 'path': dataset.name(mistake['id']) if known else None}


def _pixels(dataset: Any, sample_id: int) -> Pixels | None:
    """The model's input as uint8 (H, W) or (H, W, 3); None if the dataset gives no image."""
    sample = dataset[sample_id] if sample_id >= 0 else None
    image = sample.get('inputs') if isinstance(sample, Mapping) else None
    if not isinstance(image, Tensor) or image.dtype not in (torch.uint8, torch.uint16):
        return None
    if image.ndim != 3 or len(image) not in (1, 3):
        return None
    image = to_tensor(image)  # of 16 bits the upper 8
    return np.ascontiguousarray(image[0] if len(image) == 1 else image.permute(1, 2, 0))


def _caption(mistake: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str]:
    prediction = names[mistake['prediction']]
    return names[mistake['label']], f'as {prediction} ({mistake["score"]:.2f})'


def _save(picture: Any, path: Path) -> None:
    with whole_file(path) as file:
        picture.save(file, 'PNG')
