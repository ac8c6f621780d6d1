"""Normalising images, in whatever order their values lie in memory.

Shapes: B images, C channels, H W pixels.
"""

import torch
from torch import Tensor


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std as float32, in one new tensor whose memory is laid out alike.

    Args:
        images: (B, C, H, W); with the channels last in memory, as from `collate`, a row is one
            long loop on a CPU: four times as fast as a loop over three channels.
        mean: (C, 1, 1), or (1, 1, 1) for all channels.
        std: standard deviation, in the shape of `mean`.

    Raises:
        ValueError: the images have another number of channels than there are means.
    """
    B, C, H, W = images.shape
    if len(mean) not in (1, C):
        raise ValueError(
            f'images have {C} channels, preprocessor.mean has {len(mean)} numbers; make '
            'model.preprocessor.mean, its .std, model.encoder.in_channels and the channels of '
            'DecodeImage in dataset.pipeline agree; within DecodeRandomResizedCrop those are '
            f"decode=dict(type='DecodeImage', channels={len(mean)})"
        )
    dtype = torch.promote_types(torch.float32, mean.dtype)
    pixels = images.permute(0, 2, 3, 1)
    if C == 1 or not pixels.is_contiguous():
        return images.to(dtype, copy=True).sub_(mean).div_(std)
    rows = pixels.view(B, H, W * C).to(dtype, copy=True)
    mean, std = (value.flatten().expand(C).repeat(W) for value in (mean, std))
    rows.sub_(mean).div_(std)
    return rows.view(B, H, W, C).permute(0, 3, 1, 2)
