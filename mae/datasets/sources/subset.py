"""A few labelled images of each class of any source: partial labels, few-shot and long tails."""

import math
from typing import Any

import torch
from torch import Tensor

from mae.datasets.seeded import Source
from mae.datasets.sources.wrapped import build_source, labels_of
from mae.registry import DATASETS
from mae.utils.errors import ConfigError, DataError
from mae.utils.hashing import sample_keys
from mae.utils.ratio import exact


@DATASETS.register_module()
class Subset:
    """The same share or number of each class, in the order of the source.

    The choice is a function of (seed, number of the image in the source) alone, and a smaller one
    is part of every larger one of the same seed: 1 % of 10 %, one image a class of five. Published
    lists, such as SimCLR's of ImageNet, go to `ImageFolder(list_file=...)` instead.

    Args:
        source: a dataset, or the config of one, with `get_data_info`; its `get_gt_labels()`, if it
            has that, saves a query for every sample.
        per_class: number of images of each class, at least 1.
        fraction: share of each class, in (0, 1], rounded to the nearest number, at least one image.
        seed: seeds the choice; independent of the run's seed.
        others: True takes the images that are not chosen, for example as a validation split.
        imbalance: how many times as many images the first class has as the last: of N classes,
            class c has its number divided by `imbalance ** (c / (N - 1))`, at least one image
            (Cui et al. 2019, section 5.1: long-tailed CIFAR has 10 to 200). 1 is no long tail.

    Raises:
        ConfigError: both or neither of `per_class` and `fraction`, or a value out of range.
        DataError: an image of the source has no label, or none remain for `others`.
    """

    def __init__(
        self,
        source: Source | dict[str, Any],
        *,
        per_class: int | None = None,
        fraction: float | None = None,
        seed: int = 0,
        others: bool = False,
        imbalance: float = 1,
    ) -> None:
        if (per_class is None) == (fraction is None):
            raise ConfigError('Subset needs either per_class or fraction')
        if fraction is not None and not 0 < fraction <= 1:
            raise ConfigError(f'Subset: fraction must lie in (0, 1], got {fraction}')
        if not 1 <= imbalance < math.inf:
            raise ConfigError(f'Subset: imbalance must be at least 1 and finite, got {imbalance}')
        self.source = build_source(source)
        labels = require_labels(self.source, 'Subset')
        order = sample_keys(seed, 0, torch.arange(len(labels))).argsort()
        by_class = order[labels[order].argsort(stable=True)]
        counts = labels.bincount().tolist()
        chosen = []
        for label, indices in enumerate(by_class.split(counts)):
            if len(indices):
                number = _number(label, len(indices), per_class, fraction)
                number = _in_tail(number, label, len(counts), imbalance)
                chosen.append(indices[number:] if others else indices[:number])
        self._indices = torch.cat(chosen).sort().values
        if not len(self._indices):
            raise DataError('Subset: no images are left but those chosen; choose fewer of them')

    @property
    def metainfo(self) -> dict[str, Any]:
        """`metainfo` of the source."""
        return dict(getattr(self.source, 'metainfo', {}))

    def __len__(self) -> int:
        return len(self._indices)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Path or pixels and label of a chosen image, as the source gives them."""
        return self.source.get_data_info(int(self._indices[index]))

    def get_gt_labels(self) -> Tensor:
        """Labels in the order of the images, int64."""
        return require_labels(self.source, 'Subset')[self._indices]


def require_labels(source: Any, owner: str) -> Tensor:
    """Labels of a source, int64 (N,).

    Raises:
        DataError: an image has none; begins with `owner`.
    """
    labels = torch.from_numpy(labels_of(source))
    if not len(labels) or labels.min() < 0:
        raise DataError(
            f'{owner}: {type(source).__name__} has images without a label; give it labelled ones'
        )
    return labels


def _number(label: int, count: int, per_class: int | None, fraction: float | None) -> int:
    """How many of the `count` images of a class."""
    if fraction is not None:
        return max(1, round(count * exact(fraction)))
    assert per_class is not None
    if not 1 <= per_class <= count:
        raise ConfigError(
            f'Subset: per_class={per_class} must lie in 1..{count}, the images of class {label}'
        )
    return per_class


def _in_tail(number: int, label: int, num_classes: int, imbalance: float) -> int:
    """What is left of a class's number where numbers fall with the label."""
    if imbalance == 1 or num_classes == 1:
        return number
    share = math.exp(-math.log(imbalance) * label / (num_classes - 1))
    return max(1, round(number * share))
