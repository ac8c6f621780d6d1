"""Compares data sets on a disk with the catalogue, and writes the lists that configs read."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

from mae.datasets.catalogue import (
    Annotations,
    ClassFolders,
    CocoObjects,
    IDXSplit,
    ImageList,
    LabelMaps,
    NumberedImages,
    PublishedSet,
    SetPart,
)
from mae.datasets.sources.coco import read_objects
from mae.datasets.sources.folder import IMAGE_EXTENSIONS
from mae.datasets.sources.idx import IDXImages
from mae.datasets.sources.json_images import read_annotations
from mae.datasets.sources.label_maps import LabelMapFolder
from mae.datasets.sources.listed_files import existing, first_prefix, some_of
from mae.datasets.sources.path_index import PathIndex, index_of
from mae.datasets.sources.walk import class_folders, is_hidden, list_folder
from mae.utils.errors import DataError
from mae.utils.files import whole_file
from mae.utils.text import BLANKS, counted, read_lines

_PIECE = 1 << 24
_WNID = re.compile(r'n\d{8}')


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        is_right: False for what makes the set unusable.
        text: one line, with path and numbers.
    """

    is_right: bool
    text: str


def examine(published: PublishedSet, root: Path, *, md5: bool = False) -> Iterator[Finding]:
    """Check a set, part by part, and write lists where it needs them.

    Args:
        published: entry of `CATALOGUE`.
        root: folder of the set.
        md5: whether to read the archives that lie in `root` and compare their MD5, minutes each.

    Raises:
        DataError: there is no such folder.
        OSError: a list cannot be written; an older one is untouched.
    """
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; {published.title} comes from {published.home}')
    for name, expected in published.archives.items():
        if md5 and (root / name).is_file():
            yield _compare(root / name, expected)
    wrong = False
    for part in published.parts:
        for finding in check(part, root):
            wrong = wrong or not finding.is_right
            yield finding
    if published.variants:
        found = [finding for part in published.variants for finding in check(part, root)]
        right = [finding for finding in found if finding.is_right]
        wrong = not right
        yield from right or found
    packed = [name for name in published.archives if (root / name).is_file()]
    if wrong and packed:
        yield Finding(False, f'{root}: unpack {", ".join(packed)} there, if not done')


def source_of(published: PublishedSet, root: Path) -> str:
    """The `source` of a config that reads the set, as text."""
    parts = [
        part for part in (*published.parts, *published.variants) if isinstance(part, ClassFolders)
    ]
    folder = next(filter(None, (_folder_of(part, root) for part in parts)), root)
    source = published.source
    if parts and parts[0].numbered and any(map(_WNID.fullmatch, class_folders(str(folder)))):
        source = source.replace("'imagenet-v2'", "'imagenet'")  # its older distribution
    return source.format(root=root, folder=folder)


def _folder_of(part: ClassFolders, root: Path) -> Path | None:
    return next((root / place for place in part.places if (root / place).is_dir()), None)


def _compare(archive: Path, expected: str | None) -> Finding:
    if expected is None:
        return Finding(True, f'{archive}: no MD5 was published to compare with')
    digest = hashlib.md5(usedforsecurity=False)
    with archive.open('rb') as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    found = digest.hexdigest()
    if found == expected:
        return Finding(True, f'{archive}: its MD5 is the published one')
    return Finding(False, f'{archive}: MD5 {found}, published is {expected}: fetch it again')


@singledispatch
def check(part: SetPart, root: Path) -> Iterator[Finding]:
    """Compare one part of a set with the disk; a finding for each thing checked."""
    raise NotImplementedError(type(part).__name__)


@check.register
def _(part: ClassFolders, root: Path) -> Iterator[Finding]:
    folder = _folder_of(part, root)
    if folder is None:
        places = ' or '.join(str(root / place) for place in part.places)
        yield Finding(False, f'{places}: no such folder')
        return
    counts = {name: _count(folder / name) for name in class_folders(str(folder))}
    images = counted(sum(counts.values()), 'image')
    summary = f'{folder}: {counted(len(counts), "class", "classes")}, {images}'
    wrong = _wrong_of(part, counts)
    yield Finding(False, f'{summary}; {wrong}') if wrong else Finding(True, summary)


def _wrong_of(part: ClassFolders, counts: dict[str, int]) -> str | None:
    """What is wrong with the numbers of images by class folder."""
    if len(counts) != part.classes:
        return f'expected {part.classes} class folders'
    numbers = {str(number) for number in range(part.classes)}
    strange = [name for name in counts if not _WNID.fullmatch(name)]
    if strange and not (part.numbered and set(counts) == numbers):
        return f'{strange[0]!r} is no name of a class, as n01440764 is'
    if sum(counts.values()) not in part.images:
        empty = [name for name, count in counts.items() if not count]
        which = (
            f'; {counted(len(empty), "folder is", "folders are")} empty, the first {empty[0]}'
            if empty
            else ''
        )
        return f'expected {" or ".join(map(str, part.images))}{which}'
    odd = [name for name, count in counts.items() if part.per_class not in (None, count)]
    if odd:
        first = f'{odd[0]}: {counts[odd[0]]}'
        return f'{len(odd)} classes have not {part.per_class}, the first {first}'
    return None


@check.register
def _(part: Annotations, root: Path) -> Iterator[Finding]:
    file = root / part.file
    if not file.is_file():
        yield Finding(False, f'{file}: no such file')
        return
    try:
        index, classes = read_annotations(file)
    except DataError as error:
        yield Finding(False, str(error))
        return
    yield _numbers(str(file), len(index), part.images, len(classes), part.classes)
    yield from _missing(root, index, file)


@check.register
def _(part: ImageList, root: Path) -> Iterator[Finding]:
    file = next((root / name for name in part.files if (root / name).is_file()), None)
    if file is None:
        yield Finding(
            False, f'{" or ".join(str(root / name) for name in part.files)}: no such file'
        )
        return
    try:
        lines = list(_lines(file))
    except DataError as error:
        yield Finding(False, str(error))
        return
    largest = max((label for _, label in lines), default=-1)
    if not lines or (part.classes is not None and largest >= part.classes):
        what = f'label {largest}, but there are {part.classes} classes' if lines else 'is empty'
        yield Finding(False, f'{file}: {what}')
        return
    if part.images is not None and len(lines) != part.images:
        yield Finding(False, f'{file}: {len(lines)} lines; expected {part.images}')
        return
    prefixes = {os.path.join(root, folder): folder for folder in part.folders}
    prefix = first_prefix(prefixes, (path for path, _ in lines))
    before = part.folders[0] if prefix is None else prefixes[prefix]
    paths = [f'{before}{path}' for path, _ in lines]
    missing = list(_missing(root, index_of(paths, [label for _, label in lines]), file))
    yield from missing
    if not missing:
        target = root / 'lists' / part.name
        with whole_file(target) as out:
            for path, (_, label) in zip(paths, lines, strict=True):
                out.write(os.fsencode(f'{path} {label}\n'))
        yield Finding(True, f'{target}: {len(lines)} images, labels up to {largest}')


@check.register
def _(part: NumberedImages, root: Path) -> Iterator[Finding]:
    folder = root / part.folder
    if not folder.is_dir():
        yield Finding(False, f'{folder}: no such folder')
        return
    names = list_folder(str(folder))[1]
    for inner in class_folders(str(folder)):
        names += list_folder(str(folder / inner))[1]
    stems = (os.path.splitext(name) for name in names)
    numbers = [
        int(s[-8:]) for s, end in stems if end.lower() in IMAGE_EXTENSIONS and s[-8:].isdecimal()
    ]
    summary = f'{folder}: {len(numbers)} images with a number in their name'
    if sorted(numbers) == list(range(1, part.images + 1)):
        yield Finding(True, summary)
    else:
        yield Finding(False, f'{summary}; expected each of 1 to {part.images} once')


@check.register
def _(part: LabelMaps, root: Path) -> Iterator[Finding]:
    found: list[int] = []
    for images, maps in part.folders:
        try:
            found.append(len(LabelMapFolder(str(root), images, maps)))
        except DataError as error:
            inner = root / part.inner
            hint = f'; {inner} is there: give it as ROOT' if inner.is_dir() else ''
            yield Finding(False, f'{error}{hint}')
    if len(found) < len(part.folders):
        return
    names = [name for name, numbers in part.numbers.items() if numbers == tuple(found)]
    splits = [
        f'{number} maps in {maps}' for (_, maps), number in zip(part.folders, found, strict=True)
    ]
    summary = f'{root}: {", ".join(splits)}, each with its image'
    if names:
        yield Finding(True, f'{summary}: {names[0]}')
        return
    known = [f'{" and ".join(map(str, some))} ({name})' for name, some in part.numbers.items()]
    yield Finding(False, f'{summary}; expected {" or ".join(known)}')


@check.register
def _(part: CocoObjects, root: Path) -> Iterator[Finding]:
    file = root / part.file
    try:
        content = read_objects(str(file))
        names = [image['file_name'] for image in content['images']]
        real = {o['image_id'] for o in content['annotations'] if not o.get('iscrowd')}
    except DataError as error:
        yield Finding(False, str(error))
        return
    except (KeyError, TypeError, AttributeError) as error:
        what = error if isinstance(error, KeyError) else 'an id'
        yield Finding(False, f'{file}: an image or annotation without {what}')
        return
    finding = _numbers(str(file), len(names), part.images, len(content['categories']), part.classes)
    summary = f'{finding.text}; {len(real)} have objects'
    if finding.is_right and len(real) != part.with_objects:
        yield Finding(False, f'{summary}; expected {part.with_objects}')
    else:
        yield Finding(finding.is_right, summary)
    yield from _missing(root / part.folder, index_of(names, [0] * len(names)), file)


@check.register
def _(part: IDXSplit, root: Path) -> Iterator[Finding]:
    try:
        source = IDXImages(str(root), part.split)
    except DataError as error:
        yield Finding(False, str(error))
        return
    classes = len(source.metainfo['classes'])
    yield _numbers(f'{root}: {part.split}', len(source), part.images, classes, part.classes)


def _numbers(
    what: str, images: int, expected: int | None, classes: int, expected_classes: int
) -> Finding:
    summary = f'{what}: {images} images of {classes} classes'
    if classes == expected_classes and expected in (None, images):
        return Finding(True, summary)
    return Finding(False, f'{summary}; expected {expected or images} of {expected_classes}')


def _missing(root: Path, index: PathIndex, file: Path) -> Iterator[Finding]:
    """A finding if files are missing."""
    exists, _ = existing(index, os.path.join(root, ''))
    lost = [index.path(number) for number, found in enumerate(exists) if not found]
    if lost:
        text = f'{file}: {len(lost)} of {len(exists)} files are not below {root}: '
        yield Finding(False, text + some_of(lost, len(lost)))


def _lines(file: Path) -> Iterator[tuple[str, int]]:
    """(path without a leading slash, label) of each line that is not blank."""
    for number, line in read_lines(file):
        if not (line := line.strip(BLANKS)):
            continue
        path, _, label = line.rpartition(',' if file.suffix == '.csv' else ' ')
        label = label.strip(BLANKS)
        if not path.strip(BLANKS) or not label.isdecimal():
            raise DataError(f'{file}:{number}: expected a path and a label, got {line!r}')
        yield path.strip(BLANKS).lstrip('/'), int(label)


def _count(folder: Path) -> int:
    """Images in a folder itself."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        return sum(n.lower().endswith(IMAGE_EXTENSIONS) and not is_hidden(n) for n in names)
