"""Accuracy of a grid of classifiers that were trained side by side.

Shapes: B images, G members, N classes.
"""

from collections.abc import Sequence
from typing import Any

import torch

from mae.evaluation.accuracy import Accuracy, count_hits, logits_and_labels
from mae.evaluation.checks import check_tensor, type_and_shape
from mae.registry import METRICS


@METRICS.register_module()
class GridAccuracy(Accuracy):
    """Top-k accuracy of each learning rate of a `LinearGridHead`, and of the best one.

    The best is chosen by the top-1 on the very images that are evaluated, the smallest rate of
    equally good ones: report a run at that rate on other images, or state that the rate was
    selected on the evaluated ones.

    Args:
        topk: one k or several, different whole numbers from 1 on, 1 among them.

    Raises:
        ValueError: `topk` is without 1, or not made of different whole numbers from 1 on.
    """

    def __init__(self, topk: int | Sequence[int] = (1, 5)) -> None:
        super().__init__(topk)
        if 1 not in self.topk:
            raise ValueError(f'GridAccuracy: topk must have 1 in it, got {list(self.topk)}')
        self._scales: Sequence[float] = ()

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count the hits of a batch: `logits` (B, G, N), `labels` (B,), `lr_scales` of length G.

        Raises:
            ValueError: the logits are not those of a grid.
        """
        for sample in data_samples:
            logits, labels = logits_and_labels(sample, type(self).__name__)
            if 'lr_scales' not in sample:
                raise ValueError('GridAccuracy needs a head with lr_scales, such as LinearGridHead')
            self._scales = sample['lr_scales']
            check_tensor('the logits', logits)
            if logits.ndim != 3 or logits.shape[1] != len(self._scales):
                raise ValueError(
                    f'GridAccuracy: {len(self._scales)} lr_scales need logits (B, '
                    f'{len(self._scales)}, N), not {type_and_shape(logits)}'
                )
            hits = [count_hits(member, labels, self.topk) for member in logits.unbind(1)]
            self.add(torch.stack(hits), logits.shape[-1])

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up the counts of all processes.

        Returns:
            `top1`, `top5`, ... of the best, its `best_lr_scale`, `top1_lr_x0.5`, ... of each, and
            `num_samples`.

        Raises:
            ConfigError: there is one class only.
        """
        totals = self.totals()  # G,len(topk)+3
        num_samples = float(totals[0, -1])
        percent = (100 * totals[:, :-3] / num_samples).tolist()
        top1 = [shares[self.topk.index(1)] for shares in percent]
        best = min(range(len(top1)), key=lambda n: (-top1[n], self._scales[n]))
        metrics = {**self.named(percent[best]), 'best_lr_scale': float(self._scales[best])}
        for scale, value in zip(self._scales, top1, strict=True):
            metrics[f'top1_lr_x{scale:g}'] = value
        return {**metrics, 'num_samples': num_samples}
