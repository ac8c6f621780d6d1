"""Top-k accuracy, each sample counted once on any number of processes.

Shapes: B images, N classes.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mae.evaluation.checks import (
    check_same_device,
    check_tensor,
    is_count,
    is_whole,
    type_and_shape,
)
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError, NonFiniteError


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of samples, in percent, whose label is among the k largest logits.

    A tie counts against the label, see `count_hits`. A k that is not below the number of classes
    would always hit and is not reported.

    Counts are added up over the processes; mmengine would gather results, for which it pads and
    cuts shards.

    Args:
        topk: one k or several, different whole numbers from 1 on.
        num_classes: number of classes N of the data set; a model with another number is refused
            at the first batch. None accepts every model.

    Raises:
        ConfigError: `topk` is not made of different whole numbers from 1 on.
    """

    default_prefix = ''
    reads_batches = True  # see `Evaluator`
    _why_without_logit = 'they are negative or lie above the classes of the model or the bank'

    def __init__(
        self, topk: int | Sequence[int] = (1, 5), *, num_classes: int | None = None
    ) -> None:
        super().__init__()
        values = tuple(topk) if isinstance(topk, Sequence) else (topk,)
        if not values or not all(map(is_count, values)) or len(set(values)) < len(values):
            raise ConfigError(
                f'{type(self).__name__}.topk must be different whole numbers from 1 on, such as '
                f'(1, 5), not {topk!r}'
            )
        self.topk = values
        self.num_classes = num_classes
        self._counts: Tensor | None = None
        self._num_classes = 0
        self._has_warned = False

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Count the hits of a batch: `logits` (B, N) and `labels` (B,).

        Raises:
            ConfigError: the model is no classifier, or one of other than `num_classes` classes.
            ValueError: logits or labels have other shapes.
        """
        for sample in data_samples:
            logits, labels = self.read(sample)
            self.add(count_hits(logits, labels, self.topk), logits.shape[-1])

    def read(self, sample: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, N) and labels (B,) of a batch.

        Raises:
            ConfigError: as of `process`.
            ValueError: as of `process`.
        """
        logits, labels = logits_and_labels(sample, type(self).__name__)
        check_logits(logits, labels, type(self).__name__)
        if self.num_classes is not None and logits.shape[1] != self.num_classes:
            raise ConfigError(
                f'{type(self).__name__}: the model has {logits.shape[1]} classes, but '
                f'these images are labelled with {self.num_classes}: evaluate weights of a '
                f'classifier with model.head.num_classes={self.num_classes}'
            )
        return logits, labels

    def add(self, hits: Tensor, num_classes: int) -> None:
        """Add the counts of a batch, without waiting for the device."""
        self._counts = hits if self._counts is None else self._counts + hits
        self._num_classes = num_classes

    def totals(self) -> Tensor:
        """The counts of all processes; the next evaluation starts from zero.

        Raises:
            DataError: labels that the model has no class for, which could never be hit, or no
                sample at all.
            NonFiniteError: logits that are NaN or infinite, which rank nothing.
        """
        counts = self.reduced()
        self.require_sound(counts.reshape(-1, counts.shape[-1])[:, -3:].amax(0))
        return counts

    def reduced(self) -> Tensor:
        """The counts of all processes, not checked; the next evaluation starts from zero.

        Raises:
            DataError: there was no batch.
        """
        if self._counts is None:
            raise DataError('there is nothing to evaluate: the data loader gave no batch')
        counts, self._counts = self._counts, None
        all_reduce(counts)
        return counts

    def require_sound(self, counts: Tensor) -> None:
        """Refuse samples that cannot be ranked.

        Args:
            counts: (3,): labels without a logit, samples whose logits are NaN or infinite, samples.

        Raises:
            DataError: as of `totals`.
            NonFiniteError: as of `totals`.
        """
        wrong, broken, total = counts.tolist()
        if not total:
            raise DataError('there is nothing to evaluate: no batch had a sample')
        if wrong:
            raise DataError(
                f'{wrong:.0f} of {total:.0f} labels to evaluate have no logit: '
                f'{self._why_without_logit}'
            )
        if broken:
            raise NonFiniteError(
                f'the logits of {broken:.0f} of {total:.0f} samples to evaluate are NaN or '
                'infinite: the weights are broken, or the numbers too large for their type'
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            `top1`, `top5`, ... in percent, and `num_samples`.

        Raises:
            ConfigError: no k lies below the number of classes.
        """
        *hits, _, _, total = self.totals().tolist()
        return {**self.named([100 * hit / total for hit in hits]), 'num_samples': total}

    def named(self, percent: Sequence[float]) -> dict[str, float]:
        """The share of each k by name, without those k that would always hit.

        Raises:
            ConfigError: every k would always hit.
        """
        can_miss = [k < self._num_classes for k in self.topk]
        if not any(can_miss):
            raise ConfigError(
                f'{type(self).__name__}.topk={self.topk}: none lies below the '
                f'{self._num_classes} classes that there are, so that all would always hit'
            )
        if not all(can_miss) and not self._has_warned:
            left = ', '.join(
                f'top{k}' for k, counts in zip(self.topk, can_miss, strict=True) if not counts
            )
            print_log(
                f'{left} would always hit with {self._num_classes} classes and is left out',
                logger='current',
                level=logging.WARNING,
            )
            self._has_warned = True
        shares = zip(self.topk, percent, can_miss, strict=True)
        return {f'top{k}': share for k, share, counts in shares if counts}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('Accuracy counts instead of collecting')


def logits_and_labels(output: Mapping[str, Tensor], metric: str) -> tuple[Tensor, Tensor]:
    """Logits and labels in a classifier's output for a batch.

    Args:
        output: what a model returns with `mode='predict'`.
        metric: name of the metric, for the message.

    Raises:
        ConfigError: the model is no classifier.
    """
    if 'logits' not in output or 'labels' not in output:
        raise ConfigError(
            f'{metric} needs the logits and labels of a classifier; this model gives '
            f'{", ".join(output)}'
        )
    return output['logits'], output['labels']


def count_hits(logits: Tensor, labels: Tensor, topk: Sequence[int]) -> Tensor:
    """Count for each k the labels among the k largest logits, without waiting for the device.

    A label is among the k largest if fewer than k other classes reach its logit: the one rule of
    ranking here. Without ties it is the usual one. With ties no order of the classes is better
    than another, so none is chosen: a model whose logits are all equal scores 0, not the share of
    class 0, and a class without a vote, tied with all others without one, is no hit. Counts are
    whole numbers, hence exact on any number of processes.

    Args:
        logits: (B, N); of k-NN, votes.
        labels: whole numbers (B,).
        topk: values of k.

    Returns:
        float64 (len(topk) + 3,): hits for each k, labels outside of 0..N-1, samples with a logit
        that is NaN or infinite, samples.

    Raises:
        ValueError: other shapes or types, or on two devices.
    """
    return hit_columns(logits, labels, topk).sum(dim=1).double()


def hit_columns(logits: Tensor, labels: Tensor, topk: Sequence[int]) -> Tensor:
    """What `count_hits` adds up, of each sample: bool (len(topk) + 3, B).

    Raises:
        ValueError: other shapes or types, or on two devices.
    """
    check_logits(logits, labels)
    known, finite = known_and_finite(logits, labels)
    own = logits.gather(1, labels.long().clamp(0, logits.shape[1] - 1)[:, None])  # B,1
    place = (logits >= own).sum(dim=1)  # rank of the label, after all that are equal
    sound = known & finite
    columns = [*(sound & (place <= k) for k in topk), ~known, ~finite, torch.ones_like(known)]
    return torch.stack(columns)


def known_and_finite(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels (B,) lie in 0..N-1, and which rows of logits (B, N) are finite."""
    # max and min of a row propagate NaN and infinity, in a tenth of the time of `isfinite` of all.
    finite = logits.amax(dim=1).isfinite() & logits.amin(dim=1).isfinite()
    return (labels >= 0) & (labels < logits.shape[1]), finite


def check_logits(logits: Tensor, labels: Tensor, metric: str = 'Accuracy') -> None:
    """Refuse what is not logits (B, N) and whole labels (B,) on one device.

    Raises:
        ValueError: names their types and shapes.
    """
    check_tensor('the logits', logits)
    check_tensor('the labels', labels)
    if logits.ndim == 3:
        raise ValueError(
            f'{metric} takes logits (B, N), not {tuple(logits.shape)}; those of a head with '
            "lr_scales need val_evaluator.type='GridAccuracy'"
        )
    if logits.ndim != 2 or not logits.is_floating_point() or not logits.shape[1]:
        raise ValueError(f'{metric} takes logits (B, N) of floats, not {type_and_shape(logits)}')
    if labels.shape != logits.shape[:1] or not is_whole(labels):
        raise ValueError(
            f'logits {tuple(logits.shape)} need whole numbers ({len(logits)},) as labels, not '
            f'{type_and_shape(labels)}'
        )
    check_same_device('the logits', logits, 'the labels', labels)
