"""Objects of a COCO annotation file: boxes, classes and undecoded masks.

Shapes: N objects of an image.
"""

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.listed_files import require_files
from mae.datasets.sources.path_index import index_of
from mae.registry import DATASETS
from mae.utils.errors import DataError

_LISTS = ('images', 'annotations', 'categories')  # of an annotation file
_LEAST = 1.0  # pixels of a box's side; smaller ones are slips of the annotators


@DATASETS.register_module()
class CocoInstances:
    """Images with their objects, in the order of the annotation file.

    Labels count the categories in the order of their ids, which have holes in COCO. Boxes are cut
    at the border of the image; one with a side below a pixel then is left out. Objects are kept as
    numbers and bytes, so that the workers share them.

    Args:
        root: folder of the images.
        annotations: path of the JSON file, below `root`'s parent or as it stands.
        filter_empty: leave out images without an object other than crowds, as training does.

    Raises:
        DataError: no such file or no annotation file of COCO, annotations of unknown images or
            categories or without a box of four numbers, ids that occur twice, or no image is left;
            names the file. Or images are missing (counted, the first ten named).
    """

    def __init__(self, root: str, annotations: str, *, filter_empty: bool = False) -> None:
        self.root = root
        beside = os.path.join(os.path.dirname(os.path.normpath(root)), annotations)
        is_beside = os.path.isfile(beside) or not os.path.isfile(annotations)
        self.file = beside if is_beside else annotations
        content = read_objects(self.file)
        images, categories = content['images'], content['categories']
        _check_table(self.file, 'image', images, {'file_name': str, 'height': int, 'width': int})
        _check_table(self.file, 'category', categories, {})
        if len({type(category['id']) for category in categories}) > 1:
            raise DataError(f'{self.file}: the ids of the categories are of several types')
        self._labels = {
            category: label for label, category in enumerate(sorted(c['id'] for c in categories))
        }
        names = {c['id']: str(c.get('name', c['id'])) for c in categories}
        self.metainfo: dict[str, Any] = {'classes': tuple(names[c] for c in self._labels)}
        self._set_images(images)
        self._set_objects(
            content['annotations'], {image['id']: n for n, image in enumerate(images)}
        )
        chosen = np.arange(len(images))
        if filter_empty:
            real = np.bincount(self._image[~self._crowd], minlength=len(images))
            chosen = np.flatnonzero(real)
        if not len(chosen):
            what = 'image with an object' if filter_empty and images else 'image'
            raise DataError(f'{self.file}: no {what}')
        self._chosen = chosen
        self._check_files()

    def __len__(self) -> int:
        return len(self._chosen)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """One image.

        Returns:
            dict(img_path str, gt_label -1, annotations: dict(size (height, width), boxes float32
            (N, 4) left, top, right, bottom, classes int64 (N,), crowd bool (N,), areas float64
            (N,), segmentations: a list of N as COCO stores them)).
        """
        number = int(self._chosen[index])
        rows = slice(*self._first[number : number + 2])
        spans = zip(self._ends[rows], self._ends[rows.start + 1 : rows.stop + 1], strict=True)
        return {
            'img_path': os.path.join(self.root, self._path(number)),
            'gt_label': -1,
            'annotations': {
                'size': tuple(self._sizes[number].tolist()),
                'boxes': self._boxes[rows].copy(),
                'classes': self._classes[rows].copy(),
                'crowd': self._crowd[rows].copy(),
                'areas': self._areas[rows].copy(),
                'segmentations': [json.loads(self._texts[a:b].tobytes()) for a, b in spans],
            },
        }

    def _set_images(self, images: list[dict[str, Any]]) -> None:
        names = [os.fsencode(image['file_name']) for image in images]
        self._names = np.frombuffer(b''.join(names), np.uint8)
        self._name_ends = np.cumsum([0, *map(len, names)])
        self._sizes = np.array([(i['height'], i['width']) for i in images], np.int64).reshape(-1, 2)

    def _check_files(self) -> None:
        if '://' in self.root:  # listing may be slow there, or not allowed
            return
        if not os.path.isdir(self.root):
            raise DataError(f'{self.root}: no such folder')
        names = [self._path(int(number)) for number in self._chosen]
        require_files(index_of(names, [-1] * len(names)), self.root, self.file)

    def _path(self, number: int) -> str:
        start, end = self._name_ends[number : number + 2]
        return os.fsdecode(self._names[start:end].tobytes())

    def _set_objects(self, objects: list[dict[str, Any]], numbers: dict[Any, int]) -> None:
        """Columns of all objects, sorted by image."""
        for thing in objects:
            self._check_numbers(thing)
            for key, known in (('image_id', numbers), ('category_id', self._labels)):
                if not isinstance(thing.get(key), int | str) or thing[key] not in known:
                    raise DataError(
                        f'{self.file}: annotation {thing.get("id")} has {key} {thing.get(key)!r}, '
                        'which is not in the file'
                    )
        image = np.array([numbers[thing['image_id']] for thing in objects], np.int64)
        boxes = np.array([thing['bbox'] for thing in objects], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        height, width = self._sizes[image].T
        boxes = np.clip(boxes, 0, np.stack([width, height, width, height], axis=1))
        large = ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST).all(axis=1)
        order = np.flatnonzero(large)[np.argsort(image[large], kind='stable')]
        chosen = [objects[n] for n in order]
        self._image = image[order]
        self._boxes: NDArray[np.float32] = boxes[order].astype(np.float32)
        self._classes = np.array([self._labels[o['category_id']] for o in chosen], np.int64)
        self._crowd = np.array([bool(o.get('iscrowd', 0)) for o in chosen], np.bool_)
        self._areas = np.array([o.get('area', 0.0) for o in chosen], np.float64)
        texts = [json.dumps(o.get('segmentation') or []).encode() for o in chosen]
        self._texts = np.frombuffer(b''.join(texts), np.uint8)
        self._ends = np.cumsum([0, *map(len, texts)])
        self._first = np.searchsorted(self._image, np.arange(len(self._sizes) + 1))

    def _check_numbers(self, thing: object) -> None:
        box = thing.get('bbox') if isinstance(thing, dict) else None
        is_box = isinstance(box, list) and len(box) == 4
        if not is_box or not all(_is_finite(number) for number in box or ()):
            name = thing.get('id') if isinstance(thing, dict) else repr(thing)
            raise DataError(
                f'{self.file}: annotation {name} has bbox {box!r}; it must be four numbers: left, '
                'top, width, height'
            )
        assert isinstance(thing, dict)
        if not _is_finite(thing.get('area', 0.0)) or thing.get('iscrowd', 0) not in (0, 1):
            raise DataError(
                f'{self.file}: annotation {thing.get("id")} has area {thing.get("area")!r} and '
                f'iscrowd {thing.get("iscrowd")!r}; they must be a number, and 0 or 1'
            )


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)


def _check_table(
    path: str, what: str, rows: list[Any], columns: dict[str, type[int] | type[str]]
) -> None:
    """Refuse rows without an id of their own, or without what else they need."""
    seen = set()
    for number, row in enumerate(rows):
        wrong = [
            key
            for key, kind in columns.items()
            if not isinstance(row, dict) or not isinstance(row.get(key), kind)
        ]
        key = row.get('id') if isinstance(row, dict) else None
        if wrong or not isinstance(key, int | str):
            raise DataError(
                f'{path}: {what} {number if key is None else key} has no {(wrong or ["id"])[0]}, '
                'or one of another type'
            )
        if key in seen:
            raise DataError(f'{path}: two of {what} have the id {key}')
        seen.add(key)


def read_objects(path: str, lists: Sequence[str] = _LISTS) -> dict[str, Any]:
    """The content of an annotation file of COCO.

    Args:
        lists: names of what it must have.

    Raises:
        DataError: it cannot be read, or lacks one of the lists.
    """
    try:
        with open(path, 'rb') as file:
            content = json.load(file)
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise DataError(f'{path}: no JSON: {error}') from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise DataError(f'{path}: no annotation file of COCO: it needs lists {", ".join(lists)}')
    return content
