"""Accuracy among some of a classifier's classes: ImageNet-A and ImageNet-R.

Shapes: B images, N classes of the model, S of the subset.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mae.evaluation.accuracy import Accuracy, count_hits
from mae.registry import METRICS
from mae.utils.class_lists import subset_indices
from mae.utils.errors import ConfigError

_IMAGENET = 1000


@METRICS.register_module()
class SubsetAccuracy(Accuracy):
    """Top-k accuracy among the logits of the subset alone, as the sets' authors evaluate.

    The logits of all other classes are ignored: top-1 among all 1000 is a lower number. Labels are
    those of the model, 0..N-1.

    Args:
        subset: 'imagenet-a' or 'imagenet-r', or the labels of the classes, rising; at least 2.
        topk: one k or several, different whole numbers from 1 on.
        num_classes: N; None is 1000 for a named subset, else any number above the labels of the
            subset.

    Raises:
        ConfigError: there is no such subset, or it is not made of different rising labels.
    """

    _why_without_logit = 'they are of classes that are not in the subset'

    def __init__(
        self,
        subset: Sequence[int] | str,
        topk: int | Sequence[int] = (1, 5),
        *,
        num_classes: int | None = None,
    ) -> None:
        if isinstance(subset, str):
            indices, num_classes = subset_indices(subset), num_classes or _IMAGENET
        else:
            indices = tuple(subset)
        super().__init__(topk, num_classes=num_classes)
        rising = all(isinstance(n, int) for n in indices) and indices == tuple(sorted(set(indices)))
        if not rising or len(indices) < 2 or indices[0] < 0:
            raise ConfigError(
                'SubsetAccuracy.subset must be a name, or two or more different labels, rising, '
                f'not {subset!r}'
            )
        self._last = indices[-1]
        self._indices = torch.tensor(indices)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Count the hits of a batch: `logits` (B, N) and `labels` (B,).

        Raises:
            ConfigError: the model is no classifier, or has not the classes.
            ValueError: logits or labels have other shapes.
        """
        for sample in data_samples:
            logits, labels = self.read(sample)
            num_classes = logits.shape[1]
            if num_classes <= self._last:
                raise ConfigError(
                    f'SubsetAccuracy: the subset has class {self._last}, the model only '
                    f'0..{num_classes - 1}'
                )
            self._indices = self._indices.to(logits.device)  # copied once
            size = len(self._indices)
            ranks = torch.full((num_classes,), -1, device=logits.device)  # N
            ranks[self._indices] = torch.arange(size, device=logits.device)
            known = (labels >= 0) & (labels < num_classes)
            own = ranks[labels.long().clamp(0, num_classes - 1)].where(known, -1)
            self.add(count_hits(logits[:, self._indices], own, self.topk), size)
