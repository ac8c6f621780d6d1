"""Running statistics of batch norms: part of a run's state, so the same in all processes.

A forward pass updates them from the images of its own process. Without averaging they diverge, and
a checkpoint, which rank 0 writes, would contain those of rank 0 only.
"""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def norm_buffers(model: nn.Module) -> list[Tensor]:
    """The buffers of all norm layers: running mean, variance and count of batches."""
    norms = [module for module in model.modules() if isinstance(module, _NormBase)]
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]


def statistics_of_process(model: nn.Module) -> list[Tensor]:
    """Running means and variances of the norm layers that see the images of their process alone."""
    alike = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    left_out = {id(buffer) for norm in alike for buffer in norm.buffers(recurse=False)}
    found = [buffer for buffer in norm_buffers(model) if id(buffer) not in left_out]
    return [buffer for buffer in found if buffer.is_floating_point()]


def average(buffers: Sequence[Tensor]) -> None:
    """Replace each by its mean over the processes, with one all-reduce for all of them.

    It is summed in float64, so that the mean of equal float32 values is that value.
    """
    if not buffers or get_world_size() == 1:
        return
    mean = torch.cat([buffer.flatten().double() for buffer in buffers])
    all_reduce(mean, op='mean')
    parts = mean.split([buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
