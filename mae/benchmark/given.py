"""What all systems of a comparison are given, so that they compute the same.

Shapes: B images, C channels, H W pixels, L patches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mae.benchmark.job import Job


@dataclass(frozen=True)
class Given:
    """A batch, and the model whose shape and weights the others take.

    Attributes:
        job: the comparison.
        model: ours.
        weights: its state at the start.
        raw: uint8 (B, C, H, W), what ours takes.
        images: the same, normalised float32, what the peers take.
    """

    job: Job
    model: Any
    weights: Mapping[str, Tensor]
    raw: Tensor
    images: Tensor


@dataclass(frozen=True)
class Pretraining(Given):
    """For an `MAE`.

    Attributes:
        keys: int64 (B,), from which our masks follow.
        noise: (B, L), from which the same masks follow.
    """

    keys: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Finetuning(Given):
    """For a `Classifier`.

    Attributes:
        labels: int64 (B,).
        loss: of logits and labels.
        drop_path_rate: of the last block.
        layer_decay: factor of the learning rate from a layer to the one below, or None.
        weight_decay: of AdamW.
        betas: of AdamW.
    """

    labels: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    drop_path_rate: float
    layer_decay: float | None
    weight_decay: float
    betas: tuple[float, float]


def random_images(job: Job, encoder: Any) -> Tensor:
    """uint8 (B, C, H, W) on the device."""
    shape = (job.batch_size, encoder.in_channels, *encoder.img_size)
    generator = torch.Generator().manual_seed(job.seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(job.device)
