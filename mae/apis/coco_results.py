"""Detections in COCO's results layout, which pycocotools and the benchmark's server read.

The run-length code is that of COCO's mask format (https://cocodataset.org/#format-results): lengths
of runs down the columns, beginning with zeros, each as the difference to the last but one, in
groups of five bits as printable characters. pycocotools is not needed.

Shapes: D detections, H W pixels.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.utils.errors import DataError

_FIRST, _BITS = 48, 5  # of the characters; of a group


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """dict(size [H, W], counts str) of a mask bool (H, W)."""
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist() if flat.size else [0]
    if flat.size and flat[0]:
        counts = [0, *counts]
    differences = [
        count - (counts[place - 2] if place > 2 else 0) for place, count in enumerate(counts)
    ]
    return {'size': list(mask.shape), 'counts': ''.join(map(_letters, differences))}


def decode_mask(code: Mapping[str, Any]) -> NDArray[np.bool_]:
    """bool (H, W) of what `encode_mask` gives.

    Raises:
        ValueError: the runs are not as many pixels as the size says.
    """
    height, width = code['size']
    counts: list[int] = []
    value = shift = 0
    for letter in code['counts']:
        group = ord(letter) - _FIRST
        value |= (group & 31) << shift
        shift += _BITS
        if group & 32:
            continue
        if group & 16:  # negative: the bits above are ones
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if sum(counts) != height * width:
        raise ValueError(f'the runs are {sum(counts)} pixels, the mask {height}x{width}')
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def _letters(value: int) -> str:
    letters = ''
    while True:
        group = value & 31
        value >>= _BITS
        is_last = value == (-1 if group & 16 else 0)
        letters += chr(_FIRST + group + (0 if is_last else 32))
        if is_last:
            return letters


class CocoIds:
    """Numbers of images and categories in a results file.

    Without an annotation file images are counted from 1 in their order, and the category is the
    class's number from 1.

    Args:
        classes: names in the order of the labels.
        annotations: COCO annotation file, whose ids are taken: images by the name of their file,
            categories by their name.

    Raises:
        DataError: no such file, no annotation file, or it lacks a class.
    """

    def __init__(self, classes: Sequence[str], annotations: Path | None = None) -> None:
        self.file = annotations
        self._seen: dict[str, int] = {}
        self._categories = list(range(1, len(classes) + 1))
        if annotations is None:
            return
        images, categories = _read(annotations)
        self._images = images
        missing = [name for name in classes if name not in categories]
        if missing:
            raise DataError(
                f'{annotations} has no category {missing[0]!r}, a class of the model '
                f'({len(missing)} of {len(classes)} are missing); its first are '
                f'{", ".join(list(categories)[:3])}'
            )
        self._categories = [categories[name] for name in classes]

    def image(self, name: str) -> int:
        """Number of an image.

        Raises:
            DataError: the annotation file does not list it.
        """
        if self.file is None:
            return self._seen.setdefault(name, len(self._seen) + 1)
        parts = Path(name).parts
        for start in range(len(parts)):
            found = self._images.get('/'.join(parts[start:]))
            if found is not None:
                return found
        raise DataError(f'{name}: not among the {len(self._images)} images of {self.file}')

    def category(self, label: int) -> int:
        """Number of the category of a class."""
        return self._categories[label]


def _read(file: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Ids of images by file name and of categories by name."""
    try:
        content = json.loads(file.read_bytes())
        images = {str(image['file_name']): int(image['id']) for image in content['images']}
        categories = {str(each['name']): int(each['id']) for each in content['categories']}
    except OSError as error:
        raise DataError(f'{file}: {error.strerror}') from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{file} is no annotation file of COCO: it needs images with file_name and id, and '
            'categories with name and id'
        ) from error
    return images, categories
