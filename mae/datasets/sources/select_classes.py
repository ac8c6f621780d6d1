"""Some of a source's classes, with labels from 0: for transfer to classes that were not seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.seeded import Source
from mae.datasets.sources.subset import require_labels
from mae.datasets.sources.wrapped import build_source
from mae.registry import DATASETS
from mae.utils.errors import ConfigError


@DATASETS.register_module()
class SelectClasses:
    """The images of some classes, in the order of the source.

    Class `classes[0]` gets label 0, and so on; `metainfo['classes']` has their names in that order.

    Args:
        source: a dataset, or the config of one, with `get_data_info`; its `get_gt_labels()`, if it
            has that, saves a query for every sample.
        classes: labels of the source.

    Raises:
        ConfigError: no class is given, or one twice, or one that the source has no image of.
        DataError: an image of the source has no label.
    """

    def __init__(self, source: Source | dict[str, Any], classes: Sequence[int]) -> None:
        self.source = build_source(source)
        self.classes = list(classes)
        labels = require_labels(self.source, 'SelectClasses').numpy()
        known = np.unique(labels).tolist()
        missing = [label for label in self.classes if label not in known]
        if not self.classes or missing or len(set(self.classes)) < len(self.classes):
            wrong = f'the source has no image of {missing}' if missing else f'got {self.classes}'
            raise ConfigError(
                'SelectClasses.classes must name at least one of the labels '
                f'{known[0]} to {known[-1]}, and none twice; {wrong}'
            )
        new = np.full(known[-1] + 1, -1)
        new[self.classes] = range(len(self.classes))
        self._indices = np.flatnonzero(new[labels] >= 0)
        self._labels: NDArray[np.int64] = new[labels][self._indices]

    @property
    def metainfo(self) -> dict[str, Any]:
        """The source's, with the names of the chosen classes."""
        meta = dict(getattr(self.source, 'metainfo', {}))
        if names := meta.get('classes'):
            meta['classes'] = tuple(names[label] for label in self.classes)
        return meta

    def __len__(self) -> int:
        return len(self._indices)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """That of the source, with the new gt_label int."""
        info = self.source.get_data_info(int(self._indices[index]))
        return {**info, 'gt_label': int(self._labels[index])}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """New labels in the order of the images."""
        return self._labels
