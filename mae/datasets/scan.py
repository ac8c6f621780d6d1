"""Which images there are: by a walk through class folders, or by a list file."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mae.datasets.index import IndexBuilder
from mae.datasets.index_cache import Found, Stamp, stamp
from mae.datasets.tables import MOST_CLASSES
from mae.utils.errors import DataError

_DIGITS = len(str(MOST_CLASSES - 1))  # of a label at most


def scan_folders(
    folder: str, labels: Mapping[str, int], extensions: tuple[str, ...], classes: Sequence[str] = ()
) -> Found:
    """Images in depth below the given folders, in sorted order.

    Args:
        folder: that the paths are relative to.
        labels: of each folder below it, in the order wanted; '' is `folder` itself.
        extensions: of image files, in lower case.
        classes: names in the order of the labels, handed on.

    Raises:
        DataError: a folder cannot be read.
    """
    builder = IndexBuilder()
    stamps: dict[str, Stamp] = {'': stamp(folder)}
    for name, label in labels.items():
        for below, files in _walk(folder, name, extensions, stamps):
            builder.add((f'{below}/{file}' for file in files) if below else files, label)
    return Found(builder.build(), tuple(classes), stamps)


def _walk(
    folder: str, below: str, extensions: tuple[str, ...], stamps: dict[str, Stamp]
) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its images) of each folder, parents first; links are followed."""
    pending = [below]
    while pending:
        below = pending.pop()
        path = os.path.join(folder, below)
        names, folders = [], []
        try:
            stamps[below] = stamp(path)
            with os.scandir(path) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        folders.append(entry.name)
                    elif entry.name.lower().endswith(extensions):
                        names.append(entry.name)
        except OSError as error:
            raise DataError(f'{path}: cannot be read: {error.strerror}') from error
        if names:
            yield below, sorted(names)
        pending += [os.path.join(below, name) for name in sorted(folders, reverse=True)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link to itself is none: if it is called an image, it is a bad one like others."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def read_list(list_file: Path, folder: str, classes: Sequence[str] | None, labelled: bool) -> Found:
    """Paths and labels of each line; without labels, -1, and a label that is there is dropped.

    Args:
        list_file: lines `path label`.
        folder: that the paths are relative to.
        classes: names in the order of the labels; without any, the numbers up to the largest.
        labelled: False for lines that are only a path.

    Raises:
        DataError: no lines, a line of another kind, or a label beyond the classes or other than
            that of the class folder it lies in.
    """
    stamps = {os.path.relpath(list_file, folder): stamp(str(list_file))}
    builder = IndexBuilder()
    numbers = {name: number for number, name in enumerate(classes or ())}
    largest, where = -1, ''
    for path, label in _lines(list_file, labelled):
        builder.add([path], label)
        if label > largest:
            largest, where = label, path
        number = numbers.get(path.partition('/')[0], label) if labelled else label
        if number != label and label < len(numbers):
            raise DataError(
                f'{list_file}: {path} has label {label}, but its folder is class {number}; mend '
                'the list, or give `classes` in the order of its labels'
            )
    index = builder.build()
    if not len(index):
        raise DataError(f'{list_file}: the list is empty; expected lines `path label`')
    if not labelled:
        return Found(index, (), stamps)
    if classes is None:
        classes = [str(label) for label in range(largest + 1)]
    if largest >= len(classes):
        raise DataError(f'{list_file}: {where} has label {largest} of {len(classes)} classes')
    return Found(index, tuple(classes), stamps)


def _lines(list_file: Path, labelled: bool) -> Iterator[tuple[str, int]]:
    with open(list_file, encoding='utf-8', errors='surrogateescape') as lines:
        for number, line in enumerate(lines, start=1):
            words = line.rsplit(maxsplit=1)
            if len(words) == 2 and words[1].isdecimal() and len(words[1]) <= _DIGITS:
                yield words[0].strip(), int(words[1]) if labelled else -1
            elif labelled and line.strip():
                raise DataError(
                    f'{list_file}:{number}: expected `path label`, got {line.strip()!r}'
                )
            elif line.strip():
                yield line.strip(), -1
