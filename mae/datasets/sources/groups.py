"""Several sources as one, read in one pass of a loader."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.seeded import Source
from mae.datasets.sources.wrapped import build_source, labels_of
from mae.registry import DATASETS
from mae.utils.errors import ConfigError


@DATASETS.register_module()
class Groups:
    """Sources one after the other; the `group` of a sample is the number of its source.

    `metainfo['groups']` has the names of the sources in the order of their numbers, and
    `metainfo['classes']` their classes if all have the same.

    Args:
        sources: name to dataset, or to the config of one, with `get_data_info`.

    Raises:
        ConfigError: there is no source, or one is empty or has no `get_data_info`.
    """

    def __init__(self, sources: Mapping[str, Source | dict[str, Any]]) -> None:
        if not sources:
            raise ConfigError(f'{type(self).__name__}.sources is empty: give it one or more')
        self.sources = {name: _built(name, source) for name, source in sources.items()}
        self._parts = list(self.sources.values())
        self._stops = list(accumulate(map(len, self._parts)))
        self._starts = [0, *self._stops[:-1]]
        self.metainfo: dict[str, Any] = {'groups': tuple(self.sources)}
        lists = {tuple(getattr(p, 'metainfo', {}).get('classes') or ()) for p in self._parts}
        if len(lists) == 1 and (classes := lists.pop()):
            self.metainfo['classes'] = classes

    def __len__(self) -> int:
        return self._stops[-1]

    def get_data_info(self, index: int) -> dict[str, Any]:
        """That of the source, and `group` int."""
        if not 0 <= index < self._stops[-1]:
            index = range(len(self))[index]  # from the end if negative; IndexError beyond
        group = bisect_right(self._stops, index)
        info = self._parts[group].get_data_info(index - self._starts[group])
        info['group'] = group
        return info

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images; -1 without one."""
        return np.concatenate([labels_of(part) for part in self._parts])


def _built(name: str, source: Source | dict[str, Any]) -> Source:
    built = build_source(source)
    if not (hasattr(built, 'get_data_info') and len(built)):
        raise ConfigError(
            f'Groups.sources.{name}: a {type(built).__name__} without get_data_info, or empty'
        )
    return built
