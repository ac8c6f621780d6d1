"""ImageNet-C's protocol for any images: a source repeated for each corruption and severity."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mae.datasets.seeded import Source
from mae.datasets.sources.wrapped import build_source, labels_of
from mae.datasets.transforms.corrupt import require_corruption
from mae.datasets.transforms.corruptions import CORRUPTIONS, SEVERITIES
from mae.registry import DATASETS
from mae.utils.errors import ConfigError


@DATASETS.register_module()
class Corrupted:
    """All images of a source, once for each kind and severity of corruption.

    The transform `Corrupt()` in the pipeline applies the sample's `corruption`. Each kind and
    severity is a group; `metainfo['groups']` names them as the folders of ImageNet-C, in order:
    'gaussian_noise/1', 'gaussian_noise/2' and so on.

    Args:
        source: a dataset, or the config of one, with `get_data_info`.
        kinds: names of `CORRUPTIONS`; by default all 14.
        severities: numbers from 1 to 5.

    Raises:
        ConfigError: an unknown kind or severity, none of them, or one twice.
    """

    def __init__(
        self,
        source: Source | dict[str, Any],
        *,
        kinds: Sequence[str] = tuple(CORRUPTIONS),
        severities: Sequence[int] = SEVERITIES,
    ) -> None:
        self.corruptions = [(kind, severity) for kind in kinds for severity in severities]
        for kind, severity in self.corruptions:
            require_corruption('Corrupted', kind, severity)
        if not self.corruptions or len(set(self.corruptions)) < len(self.corruptions):
            raise ConfigError(
                'Corrupted: kinds and severities must name at least one each, and none twice, got '
                f'{list(kinds)}, {list(severities)}'
            )
        self.source = build_source(source)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The source's, and `groups`."""
        names = tuple(f'{kind}/{severity}' for kind, severity in self.corruptions)
        return {**getattr(self.source, 'metainfo', {}), 'groups': names}

    def __len__(self) -> int:
        return len(self.corruptions) * len(self.source)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """That of the source, with corruption (kind, severity) and group int."""
        group, number = divmod(range(len(self))[index], len(self.source))
        info = self.source.get_data_info(number)
        return {**info, 'corruption': self.corruptions[group], 'group': group}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """Labels in the order of the images."""
        return np.tile(labels_of(self.source), len(self.corruptions))
