"""Objects in images of any kind.

Shapes: M images, D detections, H W pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import nn

from mae.apis.coco_results import CocoIds
from mae.apis.dense import DenseInferencer, ImagePipeline
from mae.apis.images import Pictures
from mae.apis.inference import Failure, collect_all, report_failures
from mae.apis.zoo import LoadedModel
from mae.models.algorithms import Detector
from mae.utils.files import write_json
from mae.utils.run_lengths import decode_mask, encode_mask


@dataclass(frozen=True)
class Detections:
    """The objects found in an image, from the highest score down.

    Attributes:
        name: path, or number of an image without one.
        size: (height, width) of the image.
        boxes: D times left, top, right, bottom in pixels of the image.
        scores: 0 to 1.
        labels: numbers of the classes.
        classes: names of the classes.
        codes: the masks in COCO's compressed form, dict(size, counts); None without masks.
    """

    name: str
    size: tuple[int, int]
    boxes: list[list[float]]
    scores: list[float]
    labels: list[int]
    classes: list[str]
    codes: list[dict[str, Any]] | None = None

    def masks(self) -> NDArray[np.bool_]:
        """The masks, bool (D, H, W).

        Raises:
            ValueError: the model has no masks.
        """
        if self.codes is None:
            raise ValueError('the model finds boxes alone: model.roi.with_masks is False')
        found = [decode_mask(code) for code in self.codes]
        return np.stack(found) if found else np.zeros((0, *self.size), np.bool_)


@dataclass(frozen=True)
class DetectionResults:
    """Result of a `DetectionInferencer`, in the order of the images.

    Attributes:
        images: the M results.
        failed: images that could not be read, and are not among the M.
    """

    images: list[Detections]
    failed: list[Failure] = field(default_factory=list)


class DetectionInferencer(DenseInferencer):
    """Boxes, classes, scores and masks of the objects in each image.

    Args:
        model: as for `Inferencer`.
        pretrained: as for `Inferencer`.
        classes: see `DenseInferencer`.
        pipeline: see `DenseInferencer`.
        min_score: of a detection; the model itself drops those below `model.roi.min_score`.
        batch_size: as for `Inferencer`.
        options: other arguments of `Inferencer`.

    Raises:
        ValueError: as `DenseInferencer`, or `min_score` is outside 0..1.
    """

    task = Detector

    def __init__(
        self,
        model: str | Path | Config | nn.Module | LoadedModel,
        pretrained: bool | str | Path = True,
        *,
        classes: Sequence[str] | None = None,
        pipeline: ImagePipeline | None = None,
        min_score: float = 0.0,
        batch_size: int = 1,
        **options: Any,
    ) -> None:
        if not isinstance(min_score, int | float) or not 0 <= min_score <= 1:
            raise ValueError(f'min_score must lie in 0..1, not {min_score!r}')
        super().__init__(
            model,
            pretrained,
            classes=classes,
            pipeline=pipeline,
            batch_size=batch_size,
            **options,
        )
        self.min_score = min_score

    def stream(self, images: Pictures, failed: list[Failure]) -> Iterator[Detections]:
        """One image at a time, for more images than memory holds.

        Args:
            images: see `mae.apis.images.name_images`.
            failed: receives the images that could not be read.
        """
        for name, image, output in self.outputs(images, failed):
            found = output['detections']
            found = {key: value[found['scores'] >= self.min_score] for key, value in found.items()}
            labels = found['classes'].tolist()
            masks = found['masks'].cpu().numpy() if 'masks' in found else None
            yield Detections(
                name,
                image.original,
                found['boxes'].tolist(),
                found['scores'].tolist(),
                labels,
                [self.classes[label] for label in labels],
                None if masks is None else [encode_mask(mask) for mask in masks],
            )

    def __call__(self, images: Pictures) -> DetectionResults:
        """Objects of all images that can be read.

        Raises:
            DataError: none can be read.
        """
        return DetectionResults(*collect_all(self.stream, images))


def save_detections(
    inferencer: DetectionInferencer,
    images: Pictures,
    file: Path,
    annotations: Path | None = None,
) -> tuple[int, int]:
    """Write all detections in COCO's results layout, whole or not at all.

    Each has `image_id`, `category_id`, `bbox` (left, top, width, height), `score` and for masks
    `segmentation`, which pycocotools reads, and beside these `file_name` and `category_name`.

    Args:
        inferencer: the model.
        images: see `mae.apis.images.name_images`.
        file: `.json`.
        annotations: COCO annotation file whose ids are taken, see `CocoIds`.

    Returns:
        The numbers of images and of detections.

    Raises:
        DataError: no image can be read, or the annotation file lacks one or a class.
        OSError: the disk refused.
    """
    ids = CocoIds(inferencer.classes, annotations)
    failed: list[Failure] = []
    rows: list[dict[str, Any]] = []
    number = 0
    for found in inferencer.stream(images, failed):
        rows += _rows(found, ids)
        number += 1
    report_failures(number, failed)
    write_json(file, rows)
    return number, len(rows)


def _rows(found: Detections, ids: CocoIds) -> list[dict[str, Any]]:
    image_id = ids.image(found.name)
    rows = []
    for place, (left, top, right, bottom) in enumerate(found.boxes):
        row = {
            'image_id': image_id,
            'category_id': ids.category(found.labels[place]),
            'bbox': [left, top, right - left, bottom - top],
            'score': found.scores[place],
            'file_name': found.name,
            'category_name': found.classes[place],
        }
        if found.codes is not None:
            row['segmentation'] = found.codes[place]
        rows.append(row)
    return rows
