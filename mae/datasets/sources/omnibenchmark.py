"""OmniBenchmark: 21 realms, each a classification set of its own (Zhang et al., 2207.07106)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mae.datasets.catalogue import REALM_CLASSES, realm_list
from mae.datasets.sources.groups import Groups
from mae.datasets.sources.listed_files import MOST_TRIED, existing, first_prefix, some_of
from mae.datasets.sources.scan import read_list
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.suggest import did_you_mean
from mae.utils.text import printable

REALMS = tuple(REALM_CLASSES)
_SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class OmniBenchmark(Groups):
    """The images of a split of every realm, as groups; labels are those of the realm.

    Lists of lines `path label` are those that `tools/data/prepare.py` writes,
    `lists/<realm>/<split>.txt` of version 2 and `lists/v1/<realm>/<split>.txt` of version 1, which
    numbers the classes otherwise; else the authors': `<realm>/annotations/v2/<split>.txt` or
    `meta_v2/<realm>/<split>.txt` of version 2, and `record.txt` or `records.txt` beside the folder
    `images` of version 1. Images are in `<realm>/<realm>.<split>/images` or
    `<realm>/<split>/images`.

    Args:
        root: folder of the dataset.
        split: 'train', 'val' or 'test'.
        version: 'v2', cleaned by the authors; or 'v1', that of the paper.
        realms: names of some; None takes all 21.
        allow_missing: True takes the realms and images that are there, logs how many are not, and
            lists the realms in `metainfo['missing']`.

    Raises:
        ConfigError: there is no such split, version or realm.
        DataError: a realm or image is missing.
    """

    def __init__(
        self,
        root: str,
        split: str,
        *,
        version: Literal['v1', 'v2'] = 'v2',
        realms: Sequence[str] | None = None,
        allow_missing: bool = False,
    ) -> None:
        self.folder = root
        if split not in _SPLITS or version not in ('v1', 'v2'):
            raise ConfigError(
                "OmniBenchmark: split must be 'train', 'val' or 'test', and version 'v1' or 'v2', "
                f'not {split!r} and {version!r}'
            )
        for name in realms or ():
            if name not in REALMS:
                raise ConfigError(f'OmniBenchmark: no realm {name!r}{did_you_mean(name, REALMS)}')
        if realms is not None and (not realms or len(set(realms)) < len(realms)):
            raise ConfigError(f'OmniBenchmark.realms must be different names, not {realms!r}')
        lists = {name: _list_of(Path(root), name, split, version) for name in realms or REALMS}
        missing = [name for name, path in lists.items() if path is None]
        if missing:
            message = f'{root}: realms of OmniBenchmark {version} without a {split} list'
            expected = os.path.join(root, _places(missing[0], split, version)[1])
            if len(missing) == len(lists):
                raise DataError(f'{message}: all; expected {expected} and others')
            message = f'{message}: {", ".join(missing)}'
            if not allow_missing:
                raise DataError(f'{message}; allow_missing=True takes the rest')
            print_log(printable(f'{message}; the rest is taken'), 'current')
        super().__init__(
            {
                name: _Realm(path, _prefixes(root, name, split, version), allow_missing)
                for name, path in lists.items()
                if path is not None
            }
        )
        if missing:
            self.metainfo['missing'] = tuple(missing)


class _Realm:
    """One list, and where its images are."""

    def __init__(self, list_file: Path, prefixes: Sequence[str], allow_missing: bool) -> None:
        self._index = read_list(list_file, str(list_file.parent), None, True).index
        paths = [self._index.path(number) for number in range(min(MOST_TRIED, len(self._index)))]
        prefix = first_prefix(prefixes, paths)
        if prefix is None:
            raise DataError(
                f'{list_file}: none of its first {len(paths)} images exists; expected '
                f'{prefixes[1]}{paths[0]}'
            )
        self._prefix = prefix
        exists, _ = existing(self._index, prefix)
        if len(lost := np.flatnonzero(~exists)):
            some = some_of((self._index.path(int(n)) for n in lost), len(lost))
            message = f'{list_file}: {len(lost)} of its {len(exists)} images do not exist: {some}'
            if not allow_missing:
                raise DataError(f'{message}; allow_missing=True leaves them out')
            print_log(printable(f'{message}; they are left out'), 'current')
        self._numbers = np.flatnonzero(exists)

    def __len__(self) -> int:
        return len(self._numbers)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, gt_label int)."""
        number = int(self._numbers[index])
        path = self._prefix + self._index.path(number)
        return {'img_path': path, 'gt_label': int(self._index.labels[number])}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._index.labels[self._numbers].astype(np.int64)


def _prefixes(root: str, realm: str, split: str, version: str) -> list[str]:
    return [os.path.join(root, folder) for folder in realm_list(realm, split, version).folders]


def _places(realm: str, split: str, version: str) -> tuple[str, ...]:
    """Where the list of a realm may be below the root; first, what `prepare.py` writes."""
    listed = realm_list(realm, split, version)
    return (f'lists/{listed.name}', *listed.files)


def _list_of(root: Path, realm: str, split: str, version: str) -> Path | None:
    places = (root / place for place in _places(realm, split, version))
    return next(filter(Path.is_file, places), None)
