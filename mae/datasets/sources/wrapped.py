"""What sources that wrap other sources ask of them: `Subset`, `Groups`, `Corrupted`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.seeded import Source
from mae.registry import DATASETS


def build_source(source: Source | dict[str, Any]) -> Source:
    """The dataset, built if it is a config; those of mmengine also read their annotations."""
    built: Any = DATASETS.build(source) if isinstance(source, dict) else source
    if hasattr(built, 'full_init'):
        built.full_init()
    wrapped: Source = built
    return wrapped


def labels_of(source: Any) -> NDArray[np.int64]:
    """Labels (N,) in the order of the images; -1 for images without one."""
    if hasattr(source, 'get_gt_labels'):
        return np.asarray(source.get_gt_labels(), np.int64)
    infos = (source.get_data_info(index) for index in range(len(source)))
    return np.array([info.get('gt_label', -1) for info in infos], np.int64)
