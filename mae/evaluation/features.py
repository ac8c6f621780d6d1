"""Features of a whole data set, on any number of processes.

Shapes: M images of the data set, D width.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Batch = dict[str, Tensor]


def features_of(model: Any, batch: Batch, pool: str) -> tuple[Tensor, Tensor]:
    """Features (B, D) and labels (B,) of a collated batch.

    Args:
        model: with `extract_features(images, pool)`, perhaps wrapped for distributed training.
        batch: as it comes from a data loader.
        pool: 'avg' of the patch tokens, or 'cls'.
    """
    model = getattr(model, 'module', model)
    batch = model.data_preprocessor(batch, False)
    return model.extract_features(batch['inputs'], pool=pool), batch['labels']


def feature_bank(model: Any, loader: Iterable[Batch], pool: str) -> tuple[Tensor, Tensor]:
    """Features (M, D) and labels (M,) of all batches of all processes, known to each of them."""
    parts = [features_of(model, batch, pool) for batch in loader]
    features, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return _gathered(features), _gathered(labels)


def _gathered(part: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; they may differ in number."""
    if not dist.is_initialized():
        return part
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part.cpu())
    return torch.cat(parts).to(part.device)
