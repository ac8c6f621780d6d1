"""A class for each pixel of images of any kind.

Shapes: M images, H W pixels, N classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mae.apis.dense import DenseInferencer
from mae.apis.images import Pictures
from mae.apis.inference import Failure, collect_all, report_failures
from mae.models.algorithms import Segmenter
from mae.utils.errors import DataError
from mae.utils.files import whole_file, whole_folder, write_json
from mae.visualization.colours import colour_of

_MOST_IN_PALETTE = 255  # classes of a PNG of one byte a pixel


@dataclass(frozen=True)
class Segmentation:
    """The label map of an image.

    Attributes:
        name: path, or number of an image without one.
        labels: number of the class of each pixel of the image, int16 (H, W).
        classes: names of all classes, in the order of the labels.
    """

    name: str
    labels: NDArray[np.int16]
    classes: Sequence[str]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels by name of each class that occurs, the largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = [label for label in np.argsort(-counts, kind='stable') if counts[label]]
        return {self.classes[label]: float(counts[label] / self.labels.size) for label in order}


@dataclass(frozen=True)
class Segmentations:
    """Result of a `SegmentationInferencer`, in the order of the images.

    Attributes:
        images: the M label maps.
        failed: images that could not be read, and are not among the M.
    """

    images: list[Segmentation]
    failed: list[Failure] = field(default_factory=list)


class SegmentationInferencer(DenseInferencer):
    """The label map of each image, at its own size.

    Args:
        arguments: see `DenseInferencer`, like its options.
    """

    task = Segmenter

    def stream(self, images: Pictures, failed: list[Failure]) -> Iterator[Segmentation]:
        """One map at a time, for more images than memory holds.

        Args:
            images: see `mae.apis.images.name_images`.
            failed: receives the images that could not be read.
        """
        for name, _, output in self.outputs(images, failed):
            labels = output['map'].cpu().numpy().astype(np.int16)
            yield Segmentation(name, labels, self.classes)

    def __call__(self, images: Pictures) -> Segmentations:
        """Maps of all images that can be read.

        Raises:
            DataError: none can be read.
        """
        return Segmentations(*collect_all(self.stream, images))


def save_segmentations(inferencer: SegmentationInferencer, images: Pictures, folder: Path) -> int:
    """Write a PNG for each image and `predictions.json` into a new folder, whole or not at all.

    A PNG's pixels are the labels, with a palette of the classes' colours; beyond 255 classes red +
    256 green, as `LoadMap(encoding='rg')` reads it. The JSON has `classes`, `colours` and for each
    image its `name`, the file of its `map`, `height`, `width` and the `shares` of its classes.

    Returns:
        The number of images.

    Raises:
        DataError: the folder holds something already, or no image can be read.
        OSError: the disk refused.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f'{folder} exists; give another name or remove it')
    failed: list[Failure] = []
    rows = []
    used: set[str] = set()
    with whole_folder(folder) as temporary:
        for found in inferencer.stream(images, failed):
            file = _free_name(found.name, used)
            write_map(temporary / file, found.labels, len(found.classes))
            height, width = found.labels.shape
            row: dict[str, Any] = {'name': found.name, 'map': file}
            rows.append({**row, 'height': height, 'width': width, 'shares': found.shares})
        report_failures(len(rows), failed)
        content = {
            'classes': inferencer.classes,
            'colours': [colour_of(label) for label in range(len(inferencer.classes))],
            'images': rows,
            'failed': [vars(failure) for failure in failed],
        }
        write_json(temporary / 'predictions.json', content)
    return len(rows)


def write_map(path: Path, labels: NDArray[np.int16], num_classes: int) -> None:
    """Write a label map as PNG, see `save_segmentations`."""
    if num_classes <= _MOST_IN_PALETTE:
        picture = Image.fromarray(labels.astype(np.uint8))
        picture.putpalette([level for label in range(num_classes) for level in colour_of(label)])
    else:
        wide = labels.astype(np.uint16)
        parts = [wide & 255, wide >> 8, np.zeros_like(wide)]
        picture = Image.fromarray(np.stack(parts, axis=-1).astype(np.uint8))
    with whole_file(path, flush=False) as file:
        picture.save(file, 'PNG', optimize=True)


def _free_name(name: str, used: set[str]) -> str:
    """`<stem>.png`, or with a number behind it where another image has that name."""
    stem = Path(name).stem
    file, number = f'{stem}.png', 1
    while file in used:
        number += 1
        file = f'{stem}-{number}.png'
    used.add(file)
    return file
