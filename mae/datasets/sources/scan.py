"""Which images there are: by a walk through class folders, or by a list file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mae.datasets.sources.index_cache import ScanResult, Stamp, stamp
from mae.datasets.sources.path_index import IndexBuilder
from mae.datasets.sources.tables import MOST_CLASSES
from mae.datasets.sources.walk import Walk, warn_of_twice
from mae.utils.errors import DataError
from mae.utils.text import BLANKS, is_utf8, read_lines

_DIGITS = len(str(MOST_CLASSES - 1))  # of a label at most


def scan_folders(
    folder: str, labels: Mapping[str, int], extensions: tuple[str, ...], classes: Sequence[str] = ()
) -> ScanResult:
    """Images at any depth below the folders in `labels`, in sorted order.

    A folder that is reached twice is counted once, with a warning; see `Walk`.

    Args:
        folder: root of the relative paths.
        labels: subfolder to label, scanned in this order; '' is `folder` itself.
        extensions: endings of image files, in lower case.
        classes: names in the order of the labels, copied into the result.

    Raises:
        DataError: a folder cannot be read, or is reached from two classes.
    """
    builder = IndexBuilder()
    stamps: dict[str, Stamp] = {'': stamp(os.stat(folder))}
    walk, twice = Walk(folder), []
    for name, label in labels.items():
        for found in walk.below(name):
            stamps[found.path] = stamp(found.status)
            if found.same_as is not None:
                _require_one_class(folder, name, found.path, found.same_as)
                twice.append((found.path, found.same_as))
            below = f'{found.path}/' if found.path else ''
            images = (file for file in found.files if file.lower().endswith(extensions))
            builder.add((f'{below}{file}' for file in images), label)
    warn_of_twice(folder, twice)
    return ScanResult(builder.build(), tuple(classes), stamps)


def _require_one_class(folder: str, name: str, path: str, first: str) -> None:
    """Raises DataError if the folder of a class was reached from another one before."""
    other = first.partition('/')[0]  # '' of the root and of what lies above it
    if name and other not in ('', name):
        one, two = (os.path.join(folder, each) for each in (first, path))
        raise DataError(
            f'{one} and {two} are the same folder, so its images would be of two classes, '
            f'{other!r} and {name!r}; remove one of the two, or leave one out with `classes`'
        )


def read_list(
    list_file: Path, folder: str, classes: Sequence[str] | None, labelled: bool
) -> ScanResult:
    """Paths and labels of a list file; if not `labelled`, all labels are -1.

    Args:
        list_file: lines `path label`.
        folder: root of the relative paths.
        classes: names in the order of the labels; without any, the numbers up to the largest.
        labelled: False for lines of a path alone; a label that follows is dropped.

    Raises:
        DataError: no lines, a line of another kind or encoding, or a label beyond the classes or
            other than that of the class folder it lies in.
    """
    stamps = {os.path.relpath(list_file, folder): stamp(os.stat(list_file))}
    builder = IndexBuilder()
    is_text = True
    numbers = {name: number for number, name in enumerate(classes or ())}
    largest, where = -1, ''
    for number_of_line, path, label in _lines(list_file, labelled):
        builder.add([path], label)
        if is_text and not is_utf8(path):
            is_text = False  # one name that is no text is enough for the message
            _require_bytes_of_a_file(f'{list_file}:{number_of_line}', path, folder)
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
        return ScanResult(index, (), stamps)
    if classes is None:
        classes = [str(label) for label in range(largest + 1)]
    if largest >= len(classes):
        raise DataError(f'{list_file}: {where} has label {largest} of {len(classes)} classes')
    return ScanResult(index, tuple(classes), stamps)


def _lines(list_file: Path, labelled: bool) -> Iterator[tuple[int, str, int]]:
    """(number from 1, path, label) of each line that is not blank."""
    for number, line in read_lines(list_file):
        if not (line := line.strip(BLANKS)):
            continue
        words = line.rsplit(maxsplit=1)
        if len(words) == 2 and words[1].isdecimal() and len(words[1]) <= _DIGITS:
            yield number, words[0], int(words[1]) if labelled else -1
        elif labelled:
            raise DataError(f'{list_file}:{number}: expected `path label`, got {line!r}')
        else:
            yield number, line, -1


def _require_bytes_of_a_file(line: str, path: str, folder: str) -> None:
    """Raises DataError if a path that is no UTF-8 is not, byte by byte, that of a file."""
    if not os.path.lexists(os.path.join(folder, path)):
        raise DataError(
            f'{line}: {path!r} is not UTF-8, and there is no file of just these bytes: save the '
            'list as UTF-8'
        )
