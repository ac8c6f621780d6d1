"""How well hidden patches are predicted: the validation loss of pre-training.

Evaluation always draws the masks of seed 0, epoch 0, so the figure is a function of the weights:
comparable between runs, lengths of a run, batches and numbers of processes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mae.registry import METRICS


@METRICS.register_module()
class ReconstructionLoss(BaseMetric):
    """Mean over the images of their reconstruction loss, each image counted once."""

    default_prefix = ''

    def __init__(self) -> None:
        super().__init__()
        self._total = torch.zeros(2, dtype=torch.float64)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Add a batch: `reconstruction_loss` (B,)."""
        for sample in data_samples:
            loss = sample['reconstruction_loss'].double()
            self._total += torch.stack([loss.sum(), loss.new_tensor(len(loss))]).cpu()

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up over all processes and start anew.

        Returns:
            `reconstruction_error` and `num_samples`.
        """
        all_reduce(self._total)
        loss, count = self._total.tolist()
        self._total.zero_()
        # Not `..._loss`: mmengine logs any name with "loss" in it as a mean over 10 validations.
        return {'reconstruction_error': loss / count, 'num_samples': count}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('ReconstructionLoss adds instead of collecting')
