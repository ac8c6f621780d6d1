"""The residual stream in bfloat16 (half the memory), with `bf16_residual`. Changed maths."""

import torch
from torch import Tensor


def to_bf16(x: Tensor) -> Tensor:
    """`x` in bfloat16 under autocast to it, else as it is.

    Autocast runs products in bfloat16 but adds their results to a float32 stream. A stream that
    starts in bfloat16 stays so: every branch ends in a product.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        return x.to(torch.bfloat16)
    return x
