"""Images named by a COCO-style annotation file: iNaturalist 2017, 2018 and 2019."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.index_cache import ScanResult, cached_scan, stamp
from mae.datasets.sources.listed_files import require_files
from mae.datasets.sources.path_index import PathIndex, index_of
from mae.registry import DATASETS
from mae.utils.errors import DataError
from mae.utils.text import counted, first_line

Ids = NDArray[np.int64]


@DATASETS.register_module()
class JsonImages:
    """Paths and labels of the `images`, `annotations` and `categories` of a JSON file.

    The label of a category is its rank among the ids in `categories`, which must follow each other
    without a hole: 0..5088, 0..8141 and 0..1009 in iNaturalist 2017, 2018 and 2019 are labels as
    they are, and ids from 1 on move down by one. With holes, two files of a set could number their
    classes differently without notice.

    What was read of a large file is kept, and read again only when the file has changed (docs:
    data).

    Args:
        root: folder that the `file_name` of the images are below.
        annotations: the JSON file, tried below `root` first.
        labelled: False for the images alone, as in files of a test set; the label is -1.
        index_cache: False reads the file at every start, and writes no index.

    Raises:
        DataError: the file or an image is missing, or the file is not as described: an id or a
            `file_name` twice, an image with two annotations or none, an annotation of an unknown
            image or category, ids of categories with holes; names the file.
    """

    def __init__(
        self, root: str, annotations: str, *, labelled: bool = True, index_cache: bool = True
    ) -> None:
        self.folder = root
        if not os.path.isdir(root):
            raise DataError(f'{root}: no such folder; expected the images of {annotations}')
        file = _find(root, annotations)

        def scan() -> ScanResult:
            stamps = {os.path.relpath(file, root): stamp(file.stat())}
            index, classes = read_annotations(file, labelled)
            return ScanResult(index, classes, stamps | require_files(index, root, file))

        asked = {'annotations': os.path.relpath(file, root), 'labelled': labelled}
        found = cached_scan(root, asked, scan) if index_cache else scan()
        self._index = found.index
        self.metainfo: dict[str, Any] = {'classes': found.classes}

    def __len__(self) -> int:
        return len(self._index)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, gt_label int)."""
        index = range(len(self))[index]
        return {
            'img_path': os.path.join(self.folder, self._index.path(index)),
            'gt_label': int(self._index.labels[index]),
        }

    def get_gt_labels(self) -> Ids:
        """Labels in the order of the images."""
        return self._index.labels.astype(np.int64)


def read_annotations(file: Path, labelled: bool = True) -> tuple[PathIndex, tuple[str, ...]]:
    """Paths and labels in the order of `images`, and names of the classes.

    A name that several categories share is followed by the id: 'Oenanthe [17]'.

    Raises:
        DataError: as `JsonImages` describes; names the file.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, 'strerror', None) or first_line(error)
        raise DataError(f'{file}: cannot be read as JSON: {reason}') from error
    names = _column(file, content, 'images', 'file_name', str)
    ids = _ids(file, content, 'images', 'id')
    if not names:
        raise DataError(f'{file}: `images` is empty')
    _refuse_twice(file, ids, 'images', 'id')
    if len(set(names)) < len(names):
        raise DataError(f'{file}: `images` name {_first_twice(names)} twice')
    labels = np.full(len(names), -1)
    classes: tuple[str, ...] = ()
    if labelled:
        categories, classes = _categories(file, content)
        labels = _labels(file, content, ids, names, categories)
    try:
        return index_of(names, labels), classes
    except UnicodeEncodeError as error:
        raise DataError(f'{file}: a `file_name` that no file can have: {error}') from error


def _labels(file: Path, content: Any, ids: Ids, names: list[str], categories: Ids) -> Ids:
    """Label (N,) of each image, from the annotations, which are in any order."""
    of_image = _ids(file, content, 'annotations', 'image_id')
    of_category = _ids(file, content, 'annotations', 'category_id')
    order = ids.argsort()
    places = np.searchsorted(ids, of_image, sorter=order).clip(max=len(ids) - 1)
    images = order[places]
    if (wrong := ids[images] != of_image).any():
        raise DataError(
            f'{file}: {counted(wrong.sum(), "annotation")} of images that are not in `images`, '
            f'the first of id {of_image[wrong][0]}'
        )
    counts = np.bincount(images, minlength=len(ids))
    for wrong, problem in (
        (counts > 1, 'more than one annotation'),
        (counts == 0, 'no annotation'),
    ):
        if wrong.any():
            cure = '; give labelled=False for images alone' if problem == 'no annotation' else ''
            raise DataError(
                f'{file}: {counted(wrong.sum(), "image has", "images have")} {problem}, the first '
                f'{names[int(wrong.argmax())]}{cure}'
            )
    ranks = of_category - categories[0]
    if (wrong := (ranks < 0) | (ranks >= len(categories))).any():
        raise DataError(
            f'{file}: {counted(wrong.sum(), "annotation")} of categories that are not in '
            f'`categories`, the first of id {of_category[wrong][0]}'
        )
    labels = np.empty(len(ids), np.int64)
    labels[images] = ranks
    return labels


def _categories(file: Path, content: Any) -> tuple[Ids, tuple[str, ...]]:
    """Ids in order, and names in that order."""
    ids = _ids(file, content, 'categories', 'id')
    names = _column(file, content, 'categories', 'name', str)
    if not len(ids):
        raise DataError(f'{file}: `categories` is empty')
    _refuse_twice(file, ids, 'categories', 'id')
    order = ids.argsort()
    ids = ids[order]
    if (holes := np.flatnonzero(np.diff(ids) != 1)).size:
        raise DataError(
            f'{file}: the ids of `categories` leave holes, the first after {ids[holes[0]]}; a '
            'label is the rank of an id, so number them without'
        )
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    ordered = ((names[place], number) for place, number in zip(order, ids, strict=True))
    return ids, tuple(f'{n} [{number}]' if counts[n] > 1 else n for n, number in ordered)


def _ids(file: Path, content: Any, table: str, key: str) -> Ids:
    values = _column(file, content, table, key, int)
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise DataError(f'{file}: {key!r} in `{table}` holds a number beyond 64 bits') from None


def _column(file: Path, content: Any, table: str, key: str, kind: type) -> list[Any]:
    """The values of a key in all rows of a table, which are all of one kind."""
    rows = content.get(table) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise DataError(
            f'{file}: no list `{table}`; expected a JSON object with images, annotations and '
            'categories'
        )
    try:
        values = [row[key] for row in rows]
    except (KeyError, TypeError):
        number = next(n for n, row in enumerate(rows) if not _has(row, key))
        raise DataError(f'{file}: entry {number} of `{table}` has no {key!r}') from None
    if not {type(value) for value in values} <= {kind}:
        number = next(n for n, value in enumerate(values) if type(value) is not kind)
        word = 'a whole number' if kind is int else 'a text'
        raise DataError(
            f'{file}: {key!r} of entry {number} of `{table}` must be {word}, got '
            f'{values[number]!r:.40}'
        )
    return values


def _has(row: Any, key: str) -> bool:
    return isinstance(row, dict) and key in row


def _refuse_twice(file: Path, ids: Ids, table: str, key: str) -> None:
    if (np.diff(np.sort(ids)) == 0).any():
        raise DataError(f'{file}: `{table}` repeat {key} {_first_twice(ids.tolist())}')


def _first_twice(values: Sequence[Any]) -> Any:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    raise AssertionError('no value is there twice')


def _find(root: str, annotations: str) -> Path:
    for candidate in (Path(root, annotations), Path(annotations)):
        if candidate.is_file():
            return candidate
    raise DataError(f'{annotations}: no such file, neither below {root} nor as it stands')
