"""Images in folders or in a list file, ImageNet's layout among them."""

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.registry import DATASETS
from mae.utils.errors import DataError

_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.ppm', '.pgm')
_Item = tuple[str, int]


@DATASETS.register_module()
class ImageFolder:
    """Image paths and labels under `root/split`, in sorted order.

    - one folder a class (searched in depth): `root/train/n01440764/*.JPEG`;
    - a list file of lines `path label`; `root/meta/<split>.txt`, as mmpretrain has it, is found
      by itself;
    - `labelled=False`: every image below, or the paths of a list; the label is -1.

    Args:
        root: folder of the dataset.
        split: folder in it ('train', 'val'), or '' for `root` itself.
        classes: names in the order of the labels; other folders are left out. By default the
            folders of `root/train` if it has any, so that no split numbers them differently,
            else those of the split itself.
        list_file: where a list is; tried below `root` first. Its paths are below `root/split`.
        labelled: False for images without classes.
        extensions: of image files, in any case.

    Raises:
        DataError: nothing there, or not as expected; names the path.
    """

    def __init__(
        self,
        root: str,
        split: str = '',
        *,
        classes: Sequence[str] | None = None,
        list_file: str | None = None,
        labelled: bool = True,
        extensions: Sequence[str] = _EXTENSIONS,
    ) -> None:
        self.folder = os.path.join(root, split) if split else root
        _require_folder(self.folder)
        self._extensions = tuple(extension.lower() for extension in extensions)
        if classes is None and labelled and split not in ('', 'train'):
            classes = _class_folders(os.path.join(root, 'train')) or None
            self._others_allowed = classes is None
        else:
            self._others_allowed = classes is not None
        found = _find_list(root, split, list_file, labelled)
        if found is not None:
            items = _read_list(found, labelled)
            classes = classes or _class_folders(self.folder) or None
            names = _check_labels(items, classes, found) if labelled else ()
            _require_file(os.path.join(self.folder, items[0][0]), found)
        elif labelled:
            items, names = self._scan_classes(classes)
        else:
            items, names = [(path, -1) for path in self._scan(self.folder)], ()
        if not items:
            kinds = ' '.join(self._extensions)
            raise DataError(f'{self.folder}: no images; expected files ending in {kinds}')
        self.metainfo: dict[str, Any] = {'classes': tuple(names)}
        self._pack(items)

    def __len__(self) -> int:
        return len(self._labels)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, gt_label int)."""
        index = range(len(self))[index]  # from the end if negative; IndexError beyond
        path = os.fsdecode(self._paths[self._ends[index] : self._ends[index + 1]])
        return {
            'img_path': os.path.join(self.folder, path),
            'gt_label': int(self._labels[index]),
        }

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._labels

    def _pack(self, items: list[_Item]) -> None:
        """Keeps all paths in one bytes object.

        A list of a million strings would be copied into every worker page by page, because
        reading a string changes its reference count.
        """
        paths = [os.fsencode(path) for path, _ in items]
        self._paths = b''.join(paths)
        self._ends = np.fromiter(accumulate(map(len, paths), initial=0), np.int64)
        self._labels = np.array([label for _, label in items], np.int64)

    def _scan_classes(self, classes: Sequence[str] | None) -> tuple[list[_Item], Sequence[str]]:
        folders = _class_folders(self.folder)
        if not folders:
            raise DataError(
                f'{self.folder}: no class folders; expected one folder of images per class '
                '(or set labelled=False, or give a list_file)'
            )
        names = folders if classes is None else list(classes)
        unknown = sorted(set(folders) - set(names))
        if unknown and not self._others_allowed:
            raise DataError(
                f'{self.folder}: class folder {unknown[0]!r} is not among the '
                f"{len(names)} of the 'train' split; give `classes` if it should differ"
            )
        present = set(folders)
        items = [
            (os.path.join(name, path), label)
            for label, name in enumerate(names)
            if name in present
            for path in self._scan(os.path.join(self.folder, name))
        ]
        return items, names

    def _scan(self, folder: str) -> Iterator[str]:
        """Paths, relative to `folder`, of all images below it."""
        for parent, folders, files in os.walk(folder, followlinks=True):
            folders.sort()
            below = os.path.relpath(parent, folder)
            for name in sorted(files):
                if name.lower().endswith(self._extensions):
                    yield os.path.normpath(os.path.join(below, name))


def _require_folder(folder: str) -> None:
    if not os.path.isdir(folder):
        raise DataError(f'{folder}: no such folder; expected a folder of images')


def _require_file(path: str, list_file: Path) -> None:
    """Looks at one path only: a million would take minutes on a network disk."""
    if not os.path.isfile(path):
        raise DataError(f'{path}: no such file, but it is the first one listed in {list_file}')


def _class_folders(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))


def _find_list(root: str, split: str, list_file: str | None, labelled: bool) -> Path | None:
    if list_file is None:
        found = Path(root, 'meta', f'{split}.txt')
        return found if split and labelled and found.is_file() else None
    for candidate in (Path(root, list_file), Path(list_file)):
        if candidate.is_file():
            return candidate
    raise DataError(f'{list_file}: no such list file, neither below {root} nor as it stands')


def _read_list(list_file: Path, labelled: bool) -> list[_Item]:
    """(path, label) of each line; without labels, -1, and a label that is there is dropped."""
    items = []
    for number, line in enumerate(list_file.read_text().splitlines(), start=1):
        words = line.rsplit(maxsplit=1)
        if len(words) == 2 and words[1].isdigit():
            items.append((words[0].strip(), int(words[1]) if labelled else -1))
        elif labelled and line.strip():
            raise DataError(f'{list_file}:{number}: expected `path label`, got {line.strip()!r}')
        elif line.strip():
            items.append((line.strip(), -1))
    if not items:
        raise DataError(f'{list_file}: the list is empty; expected lines `path label`')
    return items


def _check_labels(
    items: list[_Item], classes: Sequence[str] | None, list_file: Path
) -> Sequence[str]:
    """The class names; without any, the numbers up to the largest label.

    Raises:
        DataError: a label beyond the classes, or other than that of the class folder it lies in.
    """
    path, largest = max(items, key=lambda item: item[1])
    if classes is None:
        return [str(label) for label in range(largest + 1)]
    if largest >= len(classes):
        raise DataError(f'{list_file}: {path} has label {largest} of {len(classes)} classes')
    numbers = {name: number for number, name in enumerate(classes)}
    for path, label in items:
        number = numbers.get(path.partition('/')[0], label)
        if number != label:
            raise DataError(
                f'{list_file}: {path} has label {label}, but its folder is class {number}; mend '
                'the list, or give `classes` in the order of its labels'
            )
    return classes
