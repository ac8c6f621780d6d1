"""Images in tables, as Hugging Face `datasets` keeps them on disk: Arrow and Parquet files."""

import warnings
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.tables import ImageTable, open_table
from mae.datasets.sources.walk import Walk, list_folder, warn_of_twice
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError

_KEPT = 4  # parts of tables that a worker caches
_MANY = 16  # images read for the sake of one: more are worth a warning


@DATASETS.register_module()
class ArrowImages:
    """Images whose files are stored in the rows of tables.

    - `.arrow` files, from `datasets.Dataset.save_to_disk`: mapped into memory, a row costs no more
      than its bytes;
    - `.parquet` files, as on the Hugging Face hub: a row group is read whole. For shuffled
      training, pack them once with `tools/data/pack.py --keep`.

    The rows of all files make one data set, the files in sorted order. The bytes go to
    `DecodeImage` as they are.

    Args:
        root: folder of the files, searched in depth.
        split: prefix of files named `train-00000-of-00004.parquet`, or the folder in `root` with
            them; '' takes all.
        image: column with `bytes`, as `datasets.Image` stores them, or with bytes alone.
        label: column of whole numbers, or None for images without.
        classes: names in the order of the labels; by default those that `datasets` has noted in
            the files, else the numbers.
        in_order: True if rows are read in order, as in packing: no warning about slow row groups.

    Raises:
        ConfigError: pyarrow is missing.
        DataError: no such files, or a table without these columns; names the file.
    """

    def __init__(
        self,
        root: str,
        split: str = '',
        *,
        image: str = 'image',
        label: str | None = 'label',
        classes: Sequence[str] | None = None,
        in_order: bool = False,
    ) -> None:
        _require_pyarrow()
        self.folder = root
        self._files = _find(root, split)
        self._columns = image, label
        tables = [open_table(path, image, label) for path in self._files]
        self._parts = [(f, p) for f, table in enumerate(tables) for p in range(table.num_parts)]
        rows = [table.num_rows(p) for table in tables for p in range(table.num_parts)]
        self._ends = list(accumulate(rows, initial=0))
        if not self._ends[-1]:
            raise DataError(f'{root}: {self._files[0].name} and the others hold no rows')
        labels = [table.labels() for table in tables]
        self._labels = np.concatenate(labels).astype(np.int32)
        if classes is None and label is not None:
            classes = tables[0].class_names() or _numbers(self._labels)
        self.metainfo: dict[str, Any] = {'classes': tuple(classes or ())}
        most = max(rows)
        if self._files[0].suffix == '.parquet' and most > _MANY and not in_order:
            warnings.warn(
                f'{root}: in random order each image reads a row group of up to {most} images; '
                'pack the data once with tools/data/pack.py --keep',
                stacklevel=2,
            )
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._tables: dict[int, ImageTable] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, the file and row; img_bytes; gt_label int)."""
        index = range(len(self))[index]
        part = bisect_right(self._ends, index) - 1
        number, _ = self._parts[part]
        path = f'{self._files[number]}[{index - self._ends[part]} of part {self._parts[part][1]}]'
        content = self._part(part)[index - self._ends[part]]
        if not content.is_valid:
            raise DataError(f'{path}: holds no bytes; images kept as paths are for ImageFolder')
        return {
            'img_path': path,
            'img_bytes': content.as_buffer().to_pybytes(),
            'gt_label': int(self._labels[index]),
        }

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._labels.astype(np.int64)

    def _part(self, part: int) -> Any:
        """The images' column of a part, the last few of which are kept."""
        if part in self._open:
            self._open.move_to_end(part)
            return self._open[part]
        number, within = self._parts[part]
        if number not in self._tables:
            self._tables[number] = open_table(self._files[number], *self._columns)
        self._open[part] = self._tables[number].images(within)
        if len(self._open) > _KEPT:
            self._open.popitem(last=False)
        return self._open[part]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_open': OrderedDict(), '_tables': {}}


def holds_tables(root: str, split: str = '') -> bool:
    """Whether a folder is one for `ArrowImages`: by what lies in it, in `split` and in `data`.

    Raises:
        DataError: a folder cannot be read.
    """
    folders = [path for path in {root, f'{root}/{split}', f'{root}/data'} if Path(path).is_dir()]
    return any(_is_table(name) for path in folders for names in list_folder(path) for name in names)


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ConfigError('ArrowImages needs pyarrow: pip install pyarrow') from error


def _find(root: str, split: str) -> list[Path]:
    """The data files of a split, in sorted order."""
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f'{root}: no such folder; expected one of .arrow or .parquet files')
    inner = folder / split if split else folder
    searched = inner if inner.is_dir() else folder
    walk, twice, found = Walk(str(searched)), [], []
    for below in walk.below():
        found += [searched / below.path / name for name in below.files if _is_table(name)]
        twice += [(below.path, below.same_as)] if below.same_as is not None else []
    warn_of_twice(str(searched), twice)
    found = [path for path in sorted(found) if not path.name.startswith('cache-')]
    if searched is folder and split:
        found = [p for p in found if p.name.startswith((f'{split}-', f'{split}.'))]
    if not found:
        of = f' of split {split!r}' if split else ''
        raise DataError(f'{root}: no .arrow or .parquet files{of}')
    if len({path.suffix for path in found}) > 1:
        raise DataError(f'{root}: both .arrow and .parquet files; give the folder of either')
    return found


def _is_table(name: str) -> bool:
    return name.endswith(('.arrow', '.parquet'))


def _numbers(labels: NDArray[Any]) -> tuple[str, ...]:
    return tuple(map(str, range(int(labels.max()) + 1)))
