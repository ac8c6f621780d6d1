"""Samples to a batch: the only shape in which data reaches a model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from mae.registry import FUNCTIONS
from mae.utils.errors import DataError


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """dict(inputs uint8 (B, C, H, W), labels (B,), ids (B,), keys (B,)), the latter int64.

    If samples were replaced, `bad` lists what was wrong with those that they stand for.

    Raises:
        DataError: the images differ in shape.
    """
    inputs = [sample['inputs'] for sample in samples]
    if any(image.shape != inputs[0].shape for image in inputs):
        shapes = sorted({tuple(image.shape) for image in inputs})
        raise DataError(
            f'images of one batch differ in shape, for example {shapes[0]} and {shapes[-1]}: '
            'end the pipeline with RandomResizedCrop or CenterCrop, and give DecodeImage channels'
        )
    bad = [sample['bad'] for sample in samples if 'bad' in sample]
    return {
        'inputs': default_collate(inputs),  # in a worker it stacks straight into shared memory
        'labels': _column(samples, 'label'),
        'ids': _column(samples, 'id'),
        'keys': _column(samples, 'key'),
        **({'bad': bad} if bad else {}),
    }


def _column(samples: Sequence[dict[str, Any]], name: str) -> Tensor:
    return torch.tensor([sample[name] for sample in samples], dtype=torch.int64)


FUNCTIONS.register_module(module=collate)
