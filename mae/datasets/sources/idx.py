"""Images in IDX files, as MNIST and Fashion-MNIST are published."""

import gzip
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.suggest import did_you_mean
from mae.utils.text import first_line

_PREFIXES = {'train': 'train', 'test': 't10k'}
_UINT8 = 0x08  # the type's number in the third byte of the header
_PIECE = 1 << 24

CLASSES = {
    'mnist': tuple('0123456789'),
    'fashion-mnist': (
        'T-shirt/top',
        'Trouser',
        'Pullover',
        'Dress',
        'Coat',
        'Sandal',
        'Shirt',
        'Sneaker',
        'Bag',
        'Ankle boot',
    ),
}


@DATASETS.register_module()
class IDXImages:
    """Grey images and labels of two IDX files, kept in memory as uint8.

    Args:
        root: folder of the files.
        split: 'train' or 'test' (60,000 and 10,000 images of MNIST and Fashion-MNIST), which finds
            `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte`, plain or `.gz`, and the labels'
            `...-labels-idx1-ubyte`.
        images: another name of the file of images in `root`.
        labels: another name of the file of labels in `root`; with `images` alone there are none.
        classes: names in the order of the labels, or 'mnist' or 'fashion-mnist'; by default the
            numbers up to the largest label.

    Raises:
        ConfigError: another split or list of classes, or `labels` without `images`.
        DataError: a file is missing, cut short, too long or of another type, there are not as many
            labels as images, or a label is beyond the classes; names the file.
    """

    def __init__(
        self,
        root: str,
        split: str = 'train',
        *,
        images: str | None = None,
        labels: str | None = None,
        classes: Sequence[str] | str | None = None,
    ) -> None:
        if split not in _PREFIXES:
            raise ConfigError(f"IDXImages: split must be 'train' or 'test', got {split!r}")
        if labels is not None and images is None:
            raise ConfigError('IDXImages: labels names a file of its own, so must images')
        image_file = _find(root, images or f'{_PREFIXES[split]}-images-idx3-ubyte')
        self._images = torch.from_numpy(read_idx(image_file, 3))[:, None]
        self._labels = np.full(len(self._images), -1)
        names: tuple[str, ...] = _names(classes)
        if images is None or labels is not None:
            file = _find(root, labels or f'{_PREFIXES[split]}-labels-idx1-ubyte')
            self._labels = read_idx(file, 1).astype(np.int64)
            if len(self._labels) != len(self._images):
                raise DataError(
                    f'{file}: {len(self._labels)} labels, but {image_file} holds '
                    f'{len(self._images)} images'
                )
            largest = int(self._labels.max())
            names = names or tuple(map(str, range(largest + 1)))
            if largest >= len(names):
                raise DataError(f'{file}: label {largest}, but there are {len(names)} classes')
        self.metainfo: dict[str, Any] = {'classes': names}

    def __len__(self) -> int:
        return len(self._labels)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img uint8 (1, H, W), gt_label int)."""
        index = range(len(self))[index]
        img: Tensor = self._images[index]
        return {'img': img, 'gt_label': int(self._labels[index])}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file, plain or compressed with gzip.

    The header (http://yann.lecun.com/exdb/mnist/): two zero bytes, the type, the number of
    dimensions, the size of each as big-endian uint32.

    Args:
        path: of the file.
        dimensions: 3 for images, 1 for labels.

    Raises:
        DataError: no such file, or not as it should be; says why.
    """
    try:
        with path.open('rb') as file:
            is_packed = file.read(2) == b'\x1f\x8b'
        with gzip.open(path) if is_packed else path.open('rb') as file:
            return _read(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, 'strerror', None) or first_line(error)
        raise DataError(f'{path}: cannot be read: {reason}') from error


def _read(file: Any, path: Path, dimensions: int) -> NDArray[np.uint8]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b'\0\0':
        raise DataError(f'{path}: no IDX file: it must begin with two zero bytes')
    if start[2] != _UINT8 or start[3] != dimensions:
        raise DataError(
            f'{path}: an IDX file of type 0x{start[2]:02x} with {start[3]} dimensions; expected '
            f'0x{_UINT8:02x} (unsigned bytes) with {dimensions}: '
            f'{"images" if dimensions == 3 else "labels"}'
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f'{path}: cut short within its header')
    shape = struct.unpack(f'>{dimensions}I', header)
    size = int(np.prod(shape, dtype=object))
    if not size:
        raise DataError(f'{path}: holds nothing: its sizes are {list(shape)}')
    content = _content(file, size)
    if len(content) != size:
        problem = 'cut short' if len(content) < size else 'too long'
        raise DataError(
            f'{path}: {problem}: {list(shape)} need {size} bytes, got '
            f'{"more" if len(content) > size else len(content)}'
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _content(file: BinaryIO, size: int) -> bytearray:
    """All that is there, at most one byte more than `size`: a header may claim any size."""
    content = bytearray()
    while piece := file.read(min(_PIECE, size + 1 - len(content))):
        content += piece
    return content


def _find(root: str, name: str) -> Path:
    """The file as it is named, plain or with `.gz`."""
    for candidate in (Path(root, name), Path(root, f'{name}.gz')):
        if candidate.is_file():
            return candidate
    if not os.path.isdir(root):
        raise DataError(f'{root}: no such folder; expected one with {name} or {name}.gz')
    raise DataError(f'{root}: holds neither {name} nor {name}.gz')


def _names(classes: Sequence[str] | str | None) -> tuple[str, ...]:
    if not isinstance(classes, str):
        return tuple(classes or ())
    if classes not in CLASSES:
        raise ConfigError(
            f'IDXImages: no list of classes {classes!r}{did_you_mean(classes, CLASSES)}'
        )
    return CLASSES[classes]
