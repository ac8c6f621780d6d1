"""Images packed into a few large files, for disks that are slow with many small ones.

`tools/data/pack.py` writes them: `index.idx` (see `array_file`) says in which shard, `data-*.bin`,
and where in it each image is; an image is its file's bytes, unchanged or encoded again, or its
pixels as the bytes of a `.npy` file.
"""

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.sources.array_file import read_arrays
from mae.datasets.sources.path_index import PathIndex
from mae.registry import DATASETS
from mae.utils.errors import DataError

INDEX = 'index.idx'
FORMAT = 'mae packed images 1'


def shard_name(number: int) -> str:
    """File name of a shard of images."""
    return f'data-{number:05d}.bin'


@DATASETS.register_module()
class PackedImages:
    """What `tools/data/pack.py` wrote, image by image in the order of its source.

    Args:
        root: folder of packed images.
        split: folder in it, or '' for `root` itself.

    Raises:
        DataError: no such folder, or a file in it is missing, cut short or damaged; names it.
    """

    def __init__(self, root: str, split: str = '') -> None:
        self.folder = os.path.join(root, split) if split else root
        file = Path(self.folder, INDEX)
        try:
            meta, self._arrays = read_arrays(file)
        except OSError as error:
            raise DataError(
                f'{file}: {error.strerror}; expected a folder written by tools/data/pack.py'
            ) from error
        if (found := meta.get('format')) != FORMAT:
            what = f'{found!r}, not {FORMAT!r}: pack again' if found else 'no packed images'
            raise DataError(f'{file}: an index of {what}')
        self._index = PathIndex(self._arrays, file)
        for number, size in enumerate(meta['sizes']):
            _require_size(Path(self.folder, shard_name(number)), size)
        self.metainfo: dict[str, Any] = {'classes': tuple(meta['classes'])}
        self._descriptors: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._index)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """dict(img_path str, name of the original file; img_bytes, its content; gt_label int)."""
        index = range(len(self))[index]
        shard, start, size = (int(self._arrays[k][index]) for k in ('shards', 'starts', 'sizes'))
        return {
            'img_path': os.path.join(self.folder, self._index.path(index)),
            'img_bytes': os.pread(self._descriptor(shard), size, start),
            'gt_label': int(self._index.labels[index]),
        }

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return self._index.labels.astype(np.int64)

    def check(self, index: int) -> None:
        """Raises DataError if the bytes of an image are not those that were written."""
        info = self.get_data_info(index)
        if zlib.crc32(info['img_bytes']) != int(self._arrays['checksums'][index]):
            raise DataError(f'{info["img_path"]}: damaged: its checksum is another')

    def _descriptor(self, shard: int) -> int:
        """Descriptor of a shard. `pread` moves no position, so forked workers may share it."""
        if shard not in self._descriptors:
            path = os.path.join(self.folder, shard_name(shard))
            self._descriptors[shard] = os.open(path, os.O_RDONLY)
        return self._descriptors[shard]

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedImages, (self.folder,)

    def __del__(self) -> None:
        for descriptor in getattr(self, '_descriptors', {}).values():
            os.close(descriptor)


def _require_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise DataError(f'{path}: {error.strerror}; copy it too, or pack again') from error
    if found != size:
        raise DataError(f'{path}: {found} bytes instead of {size}; copy it anew, or pack again')
