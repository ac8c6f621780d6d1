"""ImageNet-C: the validation images of ImageNet with corruptions (Hendrycks & Dietterich 2019)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log

from mae.datasets.catalogue import CORRUPTION_ARCHIVES, VALIDATION_IMAGES
from mae.datasets.sources.folder import ImageFolder
from mae.datasets.sources.groups import Groups
from mae.datasets.sources.walk import class_folders
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.suggest import did_you_mean
from mae.utils.text import printable

# In the order of the paper's tables; only these are part of mCE.
CORRUPTIONS = tuple(chain.from_iterable(CORRUPTION_ARCHIVES.values()))
EXTRA_CORRUPTIONS = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
SEVERITIES = (1, 2, 3, 4, 5)


@DATASETS.register_module()
class ImageNetC(Groups):
    """The folders `<corruption>/<severity>/<class>` as groups named `<corruption>/<severity>`.

    A corruption lies in `root` or, as the archives unpack, one folder below:
    `noise/gaussian_noise/1`. Other files and folders, such as archives and READMEs, are ignored.

    The published files are cropped to 224 pixels already: evaluate them with `CenterCrop` alone.

    Args:
        root: folder of the dataset.
        corruptions: 'standard', the 15 of mCE; 'all', the 4 extra ones too; or names of some.
        severities: some of 1 to 5.
        classes: as of `ImageFolder`. Of 'imagenet' each folder must hold all 1000 with 50 images
            each; of other lists each folder must hold all, with as many images as the others.
        allow_missing: True evaluates what exists and logs what does not. Folders that are missing
            are then in `metainfo['missing']`, and those that lack images in
            `metainfo['incomplete']`.
        index_cache: as of `ImageFolder`.

    Raises:
        ConfigError: there is no such corruption or severity.
        DataError: a folder is missing, is there twice, or lacks classes or images.
    """

    def __init__(
        self,
        root: str,
        *,
        corruptions: Sequence[str] | Literal['standard', 'all'] = 'standard',
        severities: Sequence[int] = SEVERITIES,
        classes: Sequence[str] | str = 'imagenet',
        allow_missing: bool = False,
        index_cache: bool = True,
    ) -> None:
        self.folder = root
        if not os.path.isdir(root):
            raise DataError(f'{root}: no such folder; expected ImageNet-C')
        folders, missing = _find(root, _names(corruptions), _checked(severities))
        if missing:
            message = f'{root}: missing of ImageNet-C: {_grouped(missing)}'
            if not folders:
                raise DataError(
                    f'{message}; expected {missing[0]}/<class>/*.JPEG, here or one below'
                )
            if not allow_missing:
                raise DataError(f'{message}; allow_missing=True evaluates the rest')
            print_log(printable(f'{message}; the rest is evaluated'), 'current')
        super().__init__(
            {
                name: ImageFolder(folder, classes=classes, index_cache=index_cache)
                for name, folder in folders.items()
            }
        )
        if missing:
            self.metainfo['missing'] = tuple(missing)
        if incomplete := lacking(
            self.sources, VALIDATION_IMAGES if classes == 'imagenet' else None
        ):
            first, lack = next(iter(incomplete.items()))
            more = f' (and {len(incomplete) - 1} more such folders)' if len(incomplete) > 1 else ''
            message = f'{root}: ImageNet-C is not whole: {first} has {lack}{more}'
            if not allow_missing:
                raise DataError(
                    f'{message}: unpack its archive again, or allow_missing=True evaluates the rest'
                )
            print_log(printable(f'{message}; the rest is evaluated'), 'current')
            self.metainfo['incomplete'] = tuple(incomplete)


def _names(corruptions: Sequence[str] | str) -> list[str]:
    known = (*CORRUPTIONS, *EXTRA_CORRUPTIONS)
    if isinstance(corruptions, str):
        chosen = {'standard': CORRUPTIONS, 'all': known}
        if corruptions not in chosen:
            raise ConfigError(
                f"ImageNetC.corruptions must be 'standard', 'all' or a list, not {corruptions!r}"
            )
        return list(chosen[corruptions])
    for name in corruptions:
        if name not in known:
            raise ConfigError(f'ImageNetC.corruptions: no {name!r}{did_you_mean(name, known)}')
    if not corruptions or len(set(corruptions)) < len(corruptions):
        raise ConfigError(f'ImageNetC.corruptions must be different names, not {corruptions!r}')
    return list(corruptions)


def _checked(severities: Sequence[int]) -> list[int]:
    listed = isinstance(severities, Sequence) and all(type(n) is int for n in severities)
    if not listed or not severities or not set(severities) <= set(SEVERITIES):
        raise ConfigError(f'ImageNetC.severities must be some of 1 to 5, not {severities!r}')
    return sorted(set(severities))


def _find(
    root: str, corruptions: Sequence[str], severities: Sequence[int]
) -> tuple[dict[str, str], list[str]]:
    """Paths of the folders by name, and the names of those that are missing."""
    found: dict[str, str] = {}
    missing = []
    places = dict.fromkeys((root, *(os.path.join(root, name) for name in class_folders(root))))
    for corruption in corruptions:
        for severity in severities:
            name = f'{corruption}/{severity}'
            paths = [path for path in _paths(places, name) if class_folders(path)]
            # One folder that links lead to as well is there once.
            paths = list({os.path.realpath(path): path for path in reversed(paths)}.values())[::-1]
            if len(paths) > 1:
                raise DataError(f'{paths[0]} and {paths[1]}: {name} is there twice; remove one')
            if paths:
                found[name] = paths[0]
            else:
                missing.append(name)
    return found, missing


def _paths(places: dict[str, Any], name: str) -> Iterator[str]:
    return (os.path.join(place, name) for place in places)


def _grouped(missing: Sequence[str]) -> str:
    """'snow/2,3, fog': a corruption without any severity by its name alone."""
    by_name: dict[str, list[str]] = {}
    for name in missing:
        corruption, _, severity = name.partition('/')
        by_name.setdefault(corruption, []).append(severity)
    parts = [
        corruption if len(found) == len(SEVERITIES) else f'{corruption}/{",".join(found)}'
        for corruption, found in by_name.items()
    ]
    return ', '.join(parts)


def lacking(parts: Mapping[str, Any], per_class: int | None) -> dict[str, str]:
    """What folders lack, by name: '3 of 1000 classes and 150 of 50000 images'.

    Args:
        parts: name to `ImageFolder`, all of the same classes.
        per_class: number of images of every class; None takes the largest of all folders, class by
            class.
    """
    num_classes = len(next(iter(parts.values())).metainfo['classes'])
    counts = np.stack(
        [np.bincount(part.get_gt_labels(), minlength=num_classes) for part in parts.values()]
    )
    expected = counts.max(0) if per_class is None else np.full(num_classes, per_class)
    expected = expected.clip(min=1)  # a class that no folder has
    return {
        name: f'{np.count_nonzero(count)} of {num_classes} classes and {count.sum()} of '
        f'{expected.sum()} images'
        for name, count in zip(parts, counts, strict=True)
        if (count != expected).any()
    }
