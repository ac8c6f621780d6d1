"""Top-k accuracy, each sample counted once on any number of processes."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mae.registry import METRICS
from mae.utils.errors import DataError


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of samples, in percent, whose label is among the k largest logits.

    mmengine's gathering of results pads and cuts shards; counts need only be added up.

    Args:
        topk: values of k.
    """

    default_prefix = ''

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.topk = tuple(topk)
        self._counts: Tensor | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Count the hits of a batch: `logits` (B, N) and `labels` (B,)."""
        for sample in data_samples:
            self.add(count_hits(sample['logits'], sample['labels'], self.topk))

    def add(self, hits: Tensor) -> None:
        """Add the counts of a batch, without waiting for the device."""
        self._counts = hits if self._counts is None else self._counts + hits

    def totals(self) -> Tensor:
        """The counts of all processes; the next evaluation starts anew.

        Raises:
            DataError: labels that the model has no class for, which could never be hit.
        """
        assert self._counts is not None, 'every process evaluates at least one sample'
        counts, self._counts = self._counts, None
        all_reduce(counts)
        wrong, total = counts.flatten()[-2:].tolist()
        if wrong:
            raise DataError(
                f'{wrong:.0f} of {total:.0f} labels to evaluate have no logit: they are negative '
                'or lie above the classes of the model or the bank'
            )
        return counts

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            `top1`, `top5`, ... in percent, and `num_samples`.
        """
        *hits, _, total = self.totals().tolist()
        metrics = {f'top{k}': 100 * hit / total for k, hit in zip(self.topk, hits, strict=True)}
        return {**metrics, 'num_samples': total}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('Accuracy counts instead of collecting')


def count_hits(logits: Tensor, labels: Tensor, topk: Sequence[int]) -> Tensor:
    """Hits for each k, labels outside the logits, number of samples: float64 (len(topk) + 2,).

    A k above the number of classes hits always.

    Raises:
        ValueError: logits of a grid of classifiers, which `GridAccuracy` takes.
    """
    if logits.ndim != 2:
        raise ValueError(
            f'Accuracy takes logits (B, N), not {tuple(logits.shape)}; those of a head with '
            "lr_scales need val_evaluator.type='GridAccuracy'"
        )
    num_classes = logits.shape[1]
    top = logits.topk(min(max(topk), num_classes), dim=1).indices  # B,k
    match = top == labels[:, None]
    hits = [match[:, :k].any(dim=1).sum() for k in topk]
    wrong = ((labels < 0) | (labels >= num_classes)).sum()
    return torch.stack([*hits, wrong, torch.tensor(len(labels), device=logits.device)]).double()
