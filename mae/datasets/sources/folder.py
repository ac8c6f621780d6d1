"""Images in folders or in a list file, ImageNet's layout among them."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mae.datasets.sources.index_cache import ScanResult, cached_scan
from mae.datasets.sources.listed_files import require_files, some_of
from mae.datasets.sources.scan import read_list, scan_folders
from mae.datasets.sources.walk import class_folders, list_folder
from mae.registry import DATASETS
from mae.utils.class_lists import class_list
from mae.utils.errors import ConfigError, DataError
from mae.utils.text import printable

IMAGE_EXTENSIONS = (
    '.jpg',
    '.jpeg',
    '.png',
    '.webp',
    '.bmp',
    '.gif',
    '.tif',
    '.tiff',
    '.ppm',
    '.pgm',
)
_LAST_NUMBER = re.compile(r'(\d{1,18})\D*$')
_SPLITS = {'val', 'valid', 'validation', 'test'}  # beside 'train'


@DATASETS.register_module()
class ImageFolder:
    """Image paths and labels under `root/split`, in sorted order.

    - one folder a class (searched in depth): `root/train/n01440764/*.JPEG`;
    - a list file of lines `path label`; `root/meta/<split>.txt`, as mmpretrain has it, is found
      by itself;
    - `labelled=False`: every image below, or the paths of a list; the label is -1.

    Hidden files and folders are no images and no classes, nor are those of systems and tools, such
    as `@eaDir` and `__MACOSX`. Links to folders are followed; a folder that is reached twice is
    counted once, with a warning, and is an error if it would be of two classes.

    The result of a scan of many files is kept in a file; folders are scanned again only when one
    has changed (docs: data).

    Args:
        root: folder of the dataset.
        split: folder in it ('train', 'val'), or '' for `root` itself.
        classes: names in the order of the labels, or the name of a list that is shipped, such as
            'imagenet', see `class_list`; other folders are excluded. By default the folders of
            `root/train` if it has any, so that no split numbers them differently, else those of
            the split itself.
        list_file: path of a list, tried below `root` first. Its paths are below `root/split`, and
            all of them must exist.
        labelled: False for images without classes.
        extensions: endings of image files, in upper or lower case.
        file_numbers: True gives of each image the last number in its file's name,
            `file_number`: 293 of `ILSVRC2012_val_00000293.JPEG`.
        index_cache: False scans at every start, and writes no index.

    Raises:
        ConfigError: `classes` names one twice, or is no list that is shipped.
        DataError: nothing there, or not as expected; names the path.
    """

    def __init__(
        self,
        root: str,
        split: str = '',
        *,
        classes: Sequence[str] | str | None = None,
        list_file: str | None = None,
        labelled: bool = True,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        file_numbers: bool = False,
        index_cache: bool = True,
    ) -> None:
        self.folder = os.path.join(root, split) if split else root
        self._file_numbers = file_numbers
        self._extensions = tuple(extension.lower() for extension in extensions)
        _require_folder(root, split, self._extensions, labelled)
        if isinstance(classes, str):
            classes = class_list(classes)
        if classes is not None and len(set(classes)) < len(classes):
            name = next(name for name in classes if list(classes).count(name) > 1)
            raise ConfigError(f'ImageFolder: classes names {name!r} twice')
        self._others_allowed = classes is not None
        if classes is None and labelled and split not in ('', 'train'):
            classes = class_folders(os.path.join(root, 'train')) or None
            self._others_allowed = classes is None
            _require_order(os.path.join(root, 'train'), classes or ())
        listed = _find_list(root, split, list_file, labelled)
        if listed is not None and labelled:
            classes = classes or class_folders(self.folder) or None

        def scan() -> ScanResult:
            if listed is not None:
                found = read_list(listed, self.folder, classes, labelled)
                found.stamps.update(require_files(found.index, self.folder, listed))
                return found
            if labelled:
                return self._scan_classes(classes)
            return scan_folders(self.folder, {'': -1}, self._extensions)

        query = {
            'classes': None if classes is None else list(classes),
            'others_allowed': self._others_allowed,
            'list_file': listed and os.path.relpath(listed, self.folder),
            'labelled': labelled,
            'extensions': self._extensions,
        }
        found = cached_scan(self.folder, query, scan) if index_cache else scan()
        if not len(found.index):
            kinds = ' '.join(self._extensions)
            raise DataError(f'{self.folder}: no images; expected files ending in {kinds}')
        self._index = found.index
        self.metainfo: dict[str, Any] = {'classes': found.classes}
        if labelled and classes is None and listed is None:
            _warn_of_splits(self.folder, found.classes)

    def __len__(self) -> int:
        return len(self._index)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, gt_label int), and `file_number` int if asked for.

        Raises:
            DataError: there is no number in the file's name.
        """
        index = range(len(self))[index]  # from the end if negative; IndexError beyond
        path = os.path.join(self.folder, self._index.path(index))
        info: dict[str, Any] = {'img_path': path, 'gt_label': int(self._index.labels[index])}
        if self._file_numbers:
            info['file_number'] = _number_of(path)
        return info

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._index.labels.astype(np.int64)

    def _scan_classes(self, classes: Sequence[str] | None) -> ScanResult:
        folders = class_folders(self.folder)
        if not folders:
            raise DataError(
                f'{self.folder}: no class folders; expected one folder of images per class '
                '(or set labelled=False, or give a list_file)'
            )
        if classes is None:
            _require_order(self.folder, folders)
        names = folders if classes is None else list(classes)
        unknown = sorted(set(folders) - set(names))
        if unknown and not self._others_allowed:
            raise DataError(
                f'{self.folder}: class folder {unknown[0]!r} is not among the '
                f"{len(names)} of the 'train' split; give `classes` if it should differ"
            )
        present = set(folders)
        labels = {name: label for label, name in enumerate(names) if name in present}
        if not labels:
            raise DataError(
                f'{self.folder}: no images of the {len(names)} `classes` ({names[0]}, ...); its '
                f'folders are {folders[0]}, ...{_cure_of_order(folders)}'
            )
        return scan_folders(self.folder, labels, self._extensions, names)


def _require_folder(root: str, split: str, extensions: tuple[str, ...], labelled: bool) -> None:
    folder = os.path.join(root, split) if split else root
    if os.path.isdir(folder):
        return
    hint = 'expected a folder of images'
    if split and (found := class_folders(root)):
        some = ', '.join(found[:3]) + ', ...' * (len(found) > 3)
        hint = f"{root} has {some}; set split='' if these are the classes, or move them to {folder}"
    elif split and os.path.isdir(root) and _holds_images(root, extensions):
        cure = "split='' and labelled=False" if labelled else "split=''"
        hint = f'{root} holds images itself; set {cure}, or move them to {folder}'
    raise DataError(f'{folder}: no such folder; {hint}')


def _require_order(folder: str, names: Sequence[str]) -> None:
    """Refuse folders of numbers that are sorted as text: 10 would come before 2.

    Numbers of which more than half are missing, such as years, are taken for names.
    """
    if not all(name.isascii() and name.isdecimal() for name in names):
        return
    numbers = [int(name) for name in names]
    if numbers == sorted(numbers) or len(numbers) <= max(numbers) // 2:
        return
    lacking = sorted(set(range(max(numbers) + 1)) - set(numbers))
    without = f' without {some_of(map(str, lacking), len(lacking))}' if lacking else ''
    raise DataError(
        f'{folder}: its class folders are the numbers 0..{max(numbers)}{without}, which sorted as '
        f'text would be numbered 0, 1, 10, ...{_cure_of_order(names)}'
    )


def _cure_of_order(names: Sequence[str]) -> str:
    known = set(class_list('imagenet-v2'))
    if set(names) <= known and len(names) > len(known) // 2:
        return "; set classes='imagenet-v2'"
    if all(name.isdecimal() for name in names):
        return f'; set classes=[str(n) for n in range({max(map(int, names)) + 1})]'
    return ''


def _number_of(path: str) -> int:
    if (found := _LAST_NUMBER.search(Path(path).stem)) is None:
        raise DataError(f'{path}: there is no number in its name, as file_numbers=True needs')
    return int(found[1])


def _holds_images(folder: str, extensions: tuple[str, ...]) -> bool:
    return any(file.lower().endswith(extensions) for file in list_folder(folder)[1])


def _warn_of_splits(folder: str, classes: Sequence[str]) -> None:
    names = {name.lower() for name in classes}
    if 'train' in names and (others := sorted(_SPLITS & names)):
        text = (
            f"{folder}: 'train' and {others[0]!r} are taken for two classes of images; if they are "
            "splits, set split='train'"
        )
        print_log(printable(text), 'current', logging.WARNING)


def _find_list(root: str, split: str, list_file: str | None, labelled: bool) -> Path | None:
    if list_file is None:
        found = Path(root, 'meta', f'{split}.txt')
        return found if split and labelled and found.is_file() else None
    for candidate in (Path(root, list_file), Path(list_file)):
        if candidate.is_file():
            return candidate
    raise DataError(f'{list_file}: no such list file, neither below {root} nor as it stands')
