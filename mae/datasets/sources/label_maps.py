"""Images with label maps in a folder beside theirs: ADE20K, ImageNet-S and their like."""

import os
from collections.abc import Sequence
from typing import Any

from mae.datasets.sources.listed_files import some_of
from mae.datasets.sources.walk import Walk
from mae.registry import DATASETS
from mae.utils.errors import DataError

_IMAGES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff')
_MAPS = ('.png', '.bmp', '.tif', '.tiff')


@DATASETS.register_module()
class LabelMapFolder:
    """Pairs of an image and its label map, in sorted order of the maps.

    A pair has the same path below `images` and below `maps`, but for the ending. Images without a
    map are left out, as ImageNet-S has them; a map without an image is an error.

    Args:
        root: folder of the dataset.
        images: folder of the images, below `root` or absolute.
        maps: folder of the label maps, below `root` or absolute.
        classes: names in the order of the labels; their number must be the head's.

    Raises:
        DataError: a folder is missing, there is no map, two files differ only in their ending, or
            maps have no image (counted, the first ten named).
    """

    def __init__(
        self, root: str, images: str, maps: str, *, classes: Sequence[str] | None = None
    ) -> None:
        self.image_folder, self.map_folder = os.path.join(root, images), os.path.join(root, maps)
        found = _files(self.image_folder, _IMAGES)
        self._pairs = [
            (found.get(stem, ''), path)
            for stem, path in sorted(_files(self.map_folder, _MAPS).items())
        ]
        if not self._pairs:
            raise DataError(
                f'{self.map_folder}: no label maps; expected files in {" ".join(_MAPS)}'
            )
        if missing := [path for image, path in self._pairs if not image]:
            raise DataError(
                f'{len(missing)} label maps of {self.map_folder} have no image in '
                f'{self.image_folder}: {some_of(missing, len(missing))}'
            )
        self.metainfo: dict[str, Any] = {} if classes is None else {'classes': tuple(classes)}

    def __len__(self) -> int:
        return len(self._pairs)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, map_path str, gt_label -1)."""
        image, labels = self._pairs[index]
        return {
            'img_path': os.path.join(self.image_folder, image),
            'map_path': os.path.join(self.map_folder, labels),
            'gt_label': -1,
        }


def _files(folder: str, endings: Sequence[str]) -> dict[str, str]:
    """Path without its ending to path, relative to the folder.

    Raises:
        DataError: no such folder, or two files differ only in their ending.
    """
    if not os.path.isdir(folder):
        raise DataError(f'{folder}: no such folder')
    files: dict[str, str] = {}
    for found in Walk(folder).below(''):
        for file in found.files:
            stem, ending = os.path.splitext(file)
            if ending.lower() not in endings:
                continue
            below = f'{found.path}/' if found.path else ''
            other = files.setdefault(below + stem, below + file)
            if other != below + file:
                raise DataError(f'{folder}: {other} and {below + file} differ only in their ending')
    return files
