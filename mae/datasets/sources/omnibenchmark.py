"""OmniBenchmark: 21 realms, each a classification set of its own (Zhang et al., 2207.07106)."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mae.datasets.catalogue import REALM_CLASSES
from mae.datasets.sources.groups import Groups
from mae.datasets.sources.path_index import PathIndex
from mae.datasets.sources.scan import read_list
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.suggest import did_you_mean
from mae.utils.text import printable

REALMS = tuple(REALM_CLASSES)
# Names that folders of a realm have in one of the versions.
_FOLDERS = {'plant': ('plant', 'vascular_plant')}
_META = 'meta_v2'  # folder of the authors' repository with the lists of version 2
_SPLITS = ('train', 'val', 'test')
_MOST_TRIED = 200  # paths of a list, to find the folder that they are relative to


@DATASETS.register_module()
class OmniBenchmark(Groups):
    """The images of a split of every realm, as groups; labels are those of the realm.

    Lists of lines `path label` are `<realm>/annotations/v2/<split>.txt` or
    `meta_v2/<realm>/<split>.txt` of version 2, and `<realm>/<realm>.<split>/record.txt` of version
    1, which numbers the classes otherwise. Images are where the download tool puts them,
    `<realm>/<realm>.<split>/images`, or in `<realm>/<split>/images`.

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
            expected = _places(Path(root), missing[0], split, version)[0]
            if len(missing) == len(lists):
                raise DataError(f'{message}: all; expected {expected} and others')
            message = f'{message}: {", ".join(missing)}'
            if not allow_missing:
                raise DataError(f'{message}; allow_missing=True takes the rest')
            print_log(printable(f'{message}; the rest is taken'), 'current')
        super().__init__(
            {
                name: _Realm(path, split, allow_missing)
                for name, path in lists.items()
                if path is not None
            }
        )
        if missing:
            self.metainfo['missing'] = tuple(missing)


class _Realm:
    """One list, and where its images are."""

    def __init__(self, list_file: Path, split: str, allow_missing: bool) -> None:
        self._index = read_list(list_file, str(list_file.parent), None, True).index
        self._prefix = _prefix_of(self._index, list_file, split)
        exists = _existing(self._index, self._prefix)
        if len(lost := np.flatnonzero(~exists)):
            some = ', '.join(self._index.path(int(n)) for n in lost[:10])
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


def _places(root: Path, realm: str, split: str, version: str) -> list[Path]:
    """Where the list of a realm may be."""
    folders = [root / name for name in _FOLDERS.get(realm, (realm,))]
    if version == 'v2':
        below = [folder / 'annotations' / 'v2' / f'{split}.txt' for folder in folders]
        return below + [root / _META / folder.name / f'{split}.txt' for folder in folders]
    return [folder / f'{folder.name}.{split}' / 'record.txt' for folder in folders]


def _list_of(root: Path, realm: str, split: str, version: str) -> Path | None:
    return next(filter(Path.is_file, _places(root, realm, split, version)), None)


def _prefixes(list_file: Path, split: str) -> Iterator[str]:
    """Prefixes with which the paths of a list may be complete."""
    realm = next(folder for folder in list_file.parents if folder.name not in ('v2', 'annotations'))
    if realm.name.endswith(f'.{split}'):
        realm = realm.parent
    if realm.parent.name == _META:
        realm = realm.parent.parent / realm.name
    below = f'{realm.name}.{split}'
    yield f'{realm}/'
    yield f'{realm}/{realm.name}.'  # of `train/images/x.jpg`, `<realm>.train/images/x.jpg`
    yield from (f'{realm}/{below}/', f'{realm}/{below}/images/', f'{realm.parent}/')


def _prefix_of(index: PathIndex, list_file: Path, split: str) -> str:
    prefixes = list(_prefixes(list_file, split))
    paths = [index.path(number) for number in range(min(len(index), _MOST_TRIED))]
    for prefix in prefixes:
        if any(os.path.isfile(prefix + path) for path in paths):
            return prefix
    raise DataError(
        f'{list_file}: none of its first {len(paths)} images exists; expected '
        f'{prefixes[1]}{paths[0]}'
    )


def _existing(index: PathIndex, prefix: str) -> NDArray[np.bool_]:
    """Which images exist: each folder is listed once, as a query for every file takes too long."""
    listed: dict[str, frozenset[str]] = {}
    exists = np.zeros(len(index), bool)
    for number in range(len(index)):
        folder, name = os.path.split(prefix + index.path(number))
        if folder not in listed:
            listed[folder] = frozenset(os.listdir(folder) if os.path.isdir(folder) else ())
        exists[number] = name in listed[folder]
    return exists
