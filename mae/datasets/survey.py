"""What a folder of images holds, as far as a recipe depends on it: a look at a sample of them."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mae.datasets.look import Look, look_at
from mae.datasets.sources.folder import IMAGE_EXTENSIONS, ImageFolder
from mae.datasets.sources.walk import class_folders, list_folder
from mae.utils.errors import DataError
from mae.utils.hardware import cores_at_hand
from mae.utils.ratio import evenly_spaced
from mae.utils.text import counted, printable

# Headers and pixels are read of so many images at most, spread evenly over the folder: all of a
# small folder, and a second or two of a large one.
SAMPLE = 256
ARRAYS = ('.npy',)
# Arrays whose width and channels are both so many times their height are (channels, height, width).
_FLAT = 4
_FEW_LEVELS = 32  # of 256: what the upper 8 of 16 bits give where 13 are used
_SPLITS = ('train', 'val', 'valid', 'validation', 'test')


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        root: the folder, absolute.
        split: the folder in it that was looked at, such as 'train', or ''.
        num_images: all of them, unreadable ones too.
        looks: one of each image of the sample that can be read.
        unreadable: (path, reason) of the others of the sample.
        classes: by name of a class folder its number of images, in the order of the labels and
            without the unreadable ones of the sample; empty if not asked for.
        extensions: endings of the files.
    """

    root: str
    split: str
    num_images: int
    looks: tuple[Look, ...]
    unreadable: tuple[tuple[str, str], ...]
    classes: dict[str, int]
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS

    @property
    def source(self) -> dict[str, Any]:
        """Keywords of the `ImageFolder` that was looked at."""
        usual = self.extensions == IMAGE_EXTENSIONS
        endings = {} if usual else {'extensions': list(self.extensions)}
        order = list(self.classes)
        named = {} if order == sorted(order) else {'classes': order}
        return {'root': self.root, 'split': self.split, **named, **endings}

    @property
    def folder(self) -> str:
        """Where the images lie."""
        return os.path.join(self.root, self.split) if self.split else self.root

    @property
    def num_looked_at(self) -> int:
        """Images in the sample."""
        return len(self.looks) + len(self.unreadable)

    @property
    def num_readable(self) -> int:
        """Images without those of the sample that cannot be read."""
        return self.num_images - len(self.unreadable)

    @property
    def short_side(self) -> int:
        """Half of the images have a shorter side of so many pixels or more."""
        return int(np.median([min(look.size) for look in self.looks]))

    @property
    def megapixels(self) -> float:
        """Mean of the images."""
        return float(np.mean([look.size[0] * look.size[1] for look in self.looks])) / 1e6

    @property
    def channels(self) -> int:
        """What all images are read as: 1 if all are grey, 3 if any is in colour, or an array's."""
        return max(look.channels for look in self.looks)

    @property
    def bits(self) -> int:
        """What all images are read with: 16 if half of them or more have them, else 8."""
        return 16 if 2 * len(self._deep) >= len(self.looks) else 8

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel in grey levels, 0..255; of 16 bits in fractions."""
        return tuple(np.round(self._moments()[0], self._digits).tolist())

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel in grey levels; at least 1, also of one colour.

        Of 16 bits at least 1/256, and in fractions.
        """
        mean, square = self._moments()
        least = 1 / 256 if self.bits == 16 else 1.0
        std = np.sqrt(np.maximum(square - mean**2, least**2))
        return tuple(np.round(std, self._digits).tolist())

    @property
    def _digits(self) -> int:
        return 4 if self.bits == 16 else 2

    @property
    def _deep(self) -> list[Look]:
        return [look for look in self.looks if look.bits == 16]

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        sums = [look.sums for look in self.looks if look.channels == self.channels]
        mean, square = np.mean(sums, axis=0).T
        return mean, square

    def describe(self) -> list[str]:
        """Lines about the sample, for a reader."""
        kinds = Counter(_kind(look.channels) for look in self.looks)
        parts = ', '.join(f'{number} {kind}' for kind, number in kinds.most_common())
        height, width = np.median([look.size for look in self.looks], axis=0).astype(int)
        of = 'each' if self.num_looked_at == self.num_images else f'{self.num_looked_at} of them'
        lines = [f'looked at {of}: {parts}; half are {width} x {height} pixels or more']
        if self.extensions == ARRAYS:
            lines.append('arrays are read as (height, width, channels)')
        if alpha := sum(look.has_alpha for look in self.looks):
            lines.append(f'{alpha} with transparency, which is dropped')
        if deep := len(self._deep):
            kept = 'all of which' if self.bits == 16 else 'of which the upper 8'
            lines.append(f'{deep} with 16 bits, {kept} are kept')
        return lines

    def warnings(self) -> list[str]:
        """What the reader should look at, each with its cure."""
        lines = [
            f'cannot be read and is left out: {printable(path)}: {reason}'
            for path, reason in self.unreadable[:3]
        ]
        if (more := len(self.unreadable) - 3) > 0:
            lines.append(f'... and {more} more')
        dark = [look for look in self._deep if look.levels < _FEW_LEVELS]
        if dark and self.bits == 8:
            use = counted(len(dark), 'image of 16 bits uses', 'images of 16 bits use')
            lines.append(
                f'{use} at most {256 * _FEW_LEVELS:,} of 65,536 values, so the upper 8 bits are '
                'nearly black: scale to the whole range first'
            )
        return lines


def survey(root: str, *, split: str = '', labelled: bool = False, sample: int = SAMPLE) -> Survey:
    """Look at a folder of images.

    Args:
        root: folder, searched in depth.
        split: folder in it, such as 'train'.
        labelled: count the images of each class folder too.
        sample: number of images that are read at most.

    Raises:
        DataError: there is no such folder, no image in it, none of the sample can be read, or they
            are of kinds that one model cannot take; names folder, files and the cure.
    """
    root = os.path.abspath(os.path.expanduser(root))
    source, extensions = _source(root, split)
    total = len(source)
    paths = [str(source.get_data_info(i)['img_path']) for i in evenly_spaced(total, sample)]
    with ThreadPoolExecutor(cores_at_hand()) as pool:
        found = list(pool.map(look_at, paths))
    looks = tuple(look for look in found if isinstance(look, Look))
    bad = tuple(
        (path, look) for path, look in zip(paths, found, strict=True) if isinstance(look, str)
    )
    if not looks:
        path, reason = bad[0]
        raise DataError(
            f'{source.folder}: none of {counted(len(bad), "image")} can be read, such as '
            f'{printable(path)}: {reason}'
        )
    if extensions == ARRAYS:
        _require_channels_last(source.folder, looks)
    _require_one_kind(source.folder, looks, paths, found)
    classes = _count_classes(root, split, extensions, {path for path, _ in bad}) if labelled else {}
    return Survey(root, split, total, looks, bad, classes, extensions)


def split_of(root: str, names: Sequence[str] = ('train',)) -> str:
    """The first of some splits that a folder has beside another one; '' if it is no split set."""
    folders = class_folders(root)
    has_others = sum(name.lower() in _SPLITS for name in folders) > 1
    return next((name for name in names if has_others and name in folders), '')


def _source(root: str, split: str) -> tuple[ImageFolder, tuple[str, ...]]:
    """All images, or all arrays, below a folder.

    Raises:
        DataError: neither, or both.
    """
    every = (*IMAGE_EXTENSIONS, *ARRAYS)
    source = ImageFolder(root, split, labelled=False, extensions=every)
    paths = (str(source.get_data_info(index)['img_path']) for index in range(len(source)))
    arrays = sum(path.lower().endswith(ARRAYS) for path in paths)
    if arrays == len(source):
        return source, ARRAYS
    if arrays:
        raise DataError(
            f'{source.folder}: {counted(arrays, "array")} (.npy) among '
            f'{counted(len(source) - arrays, "image file")}: '
            'put those that are to be learned from into a folder of their own'
        )
    return source, IMAGE_EXTENSIONS


def _require_channels_last(folder: str, looks: Sequence[Look]) -> None:
    """Refuse arrays whose channels come first.

    Raises:
        DataError: the shapes of all say so.
    """
    if all(_FLAT * look.size[0] <= min(look.size[1], look.channels) for look in looks):
        shape = ' x '.join(map(str, (*looks[0].size, looks[0].channels)))
        raise DataError(
            f'{folder}: arrays are read as (height, width, channels), and one is {shape}: if the '
            'channels come first, save them as array.transpose(1, 2, 0)'
        )


def _require_one_kind(
    folder: str, looks: Sequence[Look], paths: Sequence[str], found: Sequence[Look | str]
) -> None:
    """Raises DataError where images have numbers of channels that no conversion makes equal."""
    kinds = {look.channels for look in looks}
    if len(kinds) == 1 or kinds <= {1, 3}:
        return
    first = {
        look.channels: path
        for path, look in zip(paths, found, strict=True)
        if isinstance(look, Look)
    }
    named = ', '.join(f'{number} in {printable(first[number])}' for number in sorted(kinds))
    raise DataError(
        f'{folder}: images of different channels, {named}: a model takes one number; put each kind '
        'into a folder of its own'
    )


def _kind(channels: int) -> str:
    return {1: 'grey', 3: 'colour'}.get(channels, f'of {channels} channels')


def _count_classes(
    root: str, split: str, extensions: tuple[str, ...], bad: Collection[str]
) -> dict[str, int]:
    """Number of images of each class folder, without the bad ones.

    Folders of which all are numbers are in the order of these, not of text.

    Raises:
        DataError: there are none, or images lie beside them.
    """
    names = class_folders(os.path.join(root, split))
    are_numbers = all(name.isascii() and name.isdecimal() for name in names)
    order = sorted(names, key=lambda name: (int(name), name)) if names and are_numbers else None
    source = ImageFolder(root, split, classes=order, extensions=extensions)
    loose = [f for f in list_folder(source.folder)[1] if f.lower().endswith(extensions)]
    if loose:
        raise DataError(
            f'{source.folder}: {counted(len(loose), "image")} beside its class folders, such as '
            f'{printable(loose[0])}: move them into the folders of their classes'
        )
    labels = source.get_gt_labels()
    paths = (str(source.get_data_info(index)['img_path']) for index in range(len(source)))
    kept = [label for label, path in zip(labels, paths, strict=True) if path not in bad]
    classes = source.metainfo['classes']
    counts = np.bincount(kept, minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))
