"""A data set of torchvision as a source: paths, or pixels, and labels without decoding."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from mae.datasets.sources.path_index import PathIndex, index_of
from mae.utils.errors import DataError

_IMAGES = ('_image_files', '_images', 'data')
_LABELS = ('_labels', 'targets', 'labels')
_PAIRS = ('samples', '_samples', 'imgs')


class TorchvisionImages:
    """Images and labels of a data set of torchvision, which has been built.

    Where the set keeps paths and labels, or all pixels, in memory, these are used, after its first
    and last sample have been compared with them. Otherwise `dataset[index]` is asked, which
    decodes the image in the worker.

    Args:
        dataset: a `VisionDataset` whose samples are (image, label).
        name: of its class, for messages.

    Raises:
        DataError: it holds no images, or the first file is missing.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        if not len(dataset):
            raise DataError(f'torchvision.{name}: {dataset.root}: holds no images')
        self._files: PathIndex | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._labels: NDArray[np.int64] | None = None
        self._dataset: Any = dataset
        classes = _classes_of(dataset)
        columns = _columns(dataset)
        if columns is not None and _agree(dataset, *columns):
            images, labels = columns
            self._labels = np.asarray(labels, np.int64)
            if isinstance(images, np.ndarray):
                self._pixels = images
            else:
                self._folder, self._files = _compact(images, labels, name)
            self._dataset = None  # its lists would be copied into every worker
            if not classes and self._labels.max() >= 0:
                classes = tuple(map(str, range(int(self._labels.max()) + 1)))
        self._length = len(dataset)
        self.metainfo: dict[str, Any] = {'classes': classes}

    def __len__(self) -> int:
        return self._length

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(gt_label int, and img_path str of sets of files, else img: an array or Pillow's)."""
        index = range(len(self))[index]
        if self._labels is None:
            image, label = self._dataset[index]
            return {'img': image, 'gt_label': label}
        label = int(self._labels[index])
        if self._files is not None:
            path = os.path.join(self._folder, self._files.path(index))
            return {'img_path': path, 'gt_label': label}
        assert self._pixels is not None
        return {'img': self._pixels[index], 'gt_label': label}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images; decodes them all where the set keeps no list."""
        if self._labels is not None:
            return self._labels
        return np.array([self._dataset[index][1] for index in range(len(self))], np.int64)


def _columns(dataset: Any) -> tuple[Any, Any] | None:
    """Paths, or pixels (N, H, W) or (N, H, W, C), and labels, from where the set keeps them."""
    if isinstance(dataset, datasets.Caltech101 | datasets.Caltech256):
        return _caltech_paths(dataset), dataset.y
    if isinstance(dataset, datasets.INaturalist):
        folders = [os.path.join(dataset.root, name) for name in dataset.all_categories]
        numbers = [number for number, _ in dataset.index]
        return [os.path.join(folders[n], file) for n, file in dataset.index], numbers
    for name in _PAIRS:
        if pairs := getattr(dataset, name, None):
            return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    images = next((getattr(dataset, name) for name in _IMAGES if hasattr(dataset, name)), None)
    labels = next((getattr(dataset, name) for name in _LABELS if hasattr(dataset, name)), None)
    if images is None or labels is None:
        return None
    if not isinstance(images, Sequence):
        images = np.asarray(images)
        if images.ndim == 4 and images.shape[1] == 3 != images.shape[3]:  # SVHN, STL10
            images = images.transpose(0, 2, 3, 1)
    return images, labels


def _caltech_paths(dataset: Any) -> list[str]:
    if isinstance(dataset, datasets.Caltech101):
        folder = os.path.join(dataset.root, '101_ObjectCategories')
        names = [f'image_{number:04d}.jpg' for number in dataset.index]
    else:
        folder = os.path.join(dataset.root, '256_ObjectCategories')
        pairs = zip(dataset.y, dataset.index, strict=True)
        names = [f'{label + 1:03d}_{number:04d}.jpg' for label, number in pairs]
    pairs = zip(dataset.y, names, strict=True)
    return [os.path.join(folder, dataset.categories[label], name) for label, name in pairs]


def _agree(dataset: Any, images: Any, labels: Any) -> bool:
    """Whether the columns are what the set gives, by its first and its last sample.

    They are not part of torchvision's interface, and with some options labels are others.
    """
    if len(images) != len(dataset) or np.ndim(labels) != 1 or np.asarray(labels).dtype.kind != 'i':
        return False
    is_array = isinstance(images, np.ndarray)
    if is_array and images.dtype != np.uint8:
        return False
    if not (is_array or all(isinstance(images[n], str | os.PathLike) for n in (0, -1))):
        return False
    for index in (0, len(dataset) - 1):
        try:
            image, label = dataset[index]
        except Exception:  # a damaged file is found when it is read
            continue
        same = isinstance(label, int | np.integer) and label == labels[index]
        if not same or (is_array and not np.array_equal(np.asarray(image), images[index])):
            return False
        if hasattr(image, 'close'):  # some sets open a file and read it when it is used
            image.close()
    return True


def _compact(paths: Sequence[Any], labels: Any, name: str) -> tuple[str, PathIndex]:
    """The folder that all files share, and their paths below it."""
    names = [os.fspath(path) for path in paths]
    if not os.path.isfile(names[0]):
        raise DataError(
            f'torchvision.{name}: {names[0]}: no such file, but it is the first image of the set'
        )
    order: Any = range(len(names))
    if name == 'SUN397':  # torchvision takes them as the file system lists them
        order = np.argsort(names)
    # What the first and the last in order have in common, all have.
    folder = os.path.commonpath([os.path.dirname(name) for name in (min(names), max(names))])
    below = (names[n][len(folder) :].lstrip('/') for n in order)
    labels = np.asarray(labels)[np.asarray(order)]
    return folder, index_of(below, labels)


def _classes_of(dataset: Any) -> tuple[str, ...]:
    """Names in the order of the labels, if the set has them."""
    for name in ('classes', 'categories', 'all_categories'):
        if found := getattr(dataset, name, None):
            return tuple(c if isinstance(c, str) else ', '.join(c) for c in found)
    return ()
