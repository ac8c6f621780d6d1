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

from mae.evaluation.checks import check_tensor, type_and_shape
from mae.registry import METRICS
from mae.utils.errors import ConfigError, DataError, NonFiniteError


@METRICS.register_module()
class ReconstructionLoss(BaseMetric):
    """Mean over the images of their reconstruction loss, each image counted once."""

    default_prefix = ''
    reads_batches = True  # see `Evaluator`

    def __init__(self) -> None:
        super().__init__()
        self._total: Tensor | None = None  # sum of losses, images whose loss is not finite, images

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Add a batch, without waiting for the device: `reconstruction_loss` (B,).

        Raises:
            ValueError: it is missing or has another shape.
        """
        for sample in data_samples:
            if 'reconstruction_loss' not in sample:
                raise ConfigError(
                    'ReconstructionLoss needs the reconstruction_loss of a pre-training; this '
                    f'model gives {", ".join(sample)}'
                )
            loss = sample['reconstruction_loss']
            check_tensor('reconstruction_loss', loss)
            loss = loss.double()
            if loss.ndim != 1:
                raise ValueError(f'reconstruction_loss must be (B,), not {type_and_shape(loss)}')
            broken = (~loss.isfinite()).sum()
            total = torch.stack([loss.sum(), broken, loss.new_full((), len(loss))])
            self._total = total if self._total is None else self._total + total

    def evaluate(self, size: int) -> dict[str, float]:
        """Add up over all processes; the next evaluation starts from zero.

        Returns:
            `reconstruction_error` and `num_samples`.

        Raises:
            NonFiniteError: losses that are NaN or infinite.
            DataError: there is no image.
        """
        if self._total is None:
            raise DataError('there is nothing to evaluate: the data loader gave no batch')
        total, self._total = self._total, None
        all_reduce(total)
        loss, broken, count = total.tolist()
        if not count:
            raise DataError('there is nothing to evaluate: no batch had a sample')
        if broken:
            raise NonFiniteError(
                f'the reconstruction loss of {broken:.0f} of {count:.0f} images is NaN or '
                'infinite: the weights are broken, or the numbers too large for their type'
            )
        # Not `..._loss`: mmengine logs any name with "loss" in it as a mean over 10 validations.
        return {'reconstruction_error': loss / count, 'num_samples': count}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Unused: `evaluate` needs no list of results."""
        raise AssertionError('ReconstructionLoss adds instead of collecting')
