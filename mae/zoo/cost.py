"""What a model costs: its parameters, and the multiplications of one image, counted as they run.

Shapes: B images, C channels, H W pixels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """Figures of one model.

    Attributes:
        parameters: of the model, frozen ones included.
        flops: of one image forward through what runs in training: the visible patches, the
            decoder; a multiply-add counts as 2, and only matrix products count.
        training_flops: forward and backward.
    """

    parameters: int
    flops: int
    training_flops: int


def measure_cost(model: Any) -> Cost:
    """Count what one training step of a model on the `meta` device would multiply at most.

    Args:
        model: an algorithm, built under `torch.device('meta')`; takes `inputs`, `keys`, `labels`
            and `mode='loss'`, and has an `encoder` that knows its image size.
    """
    training = model.training
    model.eval()  # drop path leaves out samples by chance: the figure is of all
    channels, size = model.encoder.in_channels, model.encoder.img_size
    with torch.device('meta'):
        images = torch.empty(1, channels, *size)
        ids = torch.empty(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            loss = model(inputs=images, keys=ids, labels=ids, mode='loss')['loss']
            forward = counter.get_total_flops()
            loss.backward()
            both = counter.get_total_flops()
    model.train(training)
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=forward,
        training_flops=both,
    )
