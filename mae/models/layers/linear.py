"""A linear layer that may read copies of its weights in the type of autocast.

Shapes: N tokens, I O width of input and output.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class AmpLinear(nn.Linear):
    """`nn.Linear` that computes with copies of its weights, where there are some.

    Autocast casts all weights in each forward pass, and again where a pass is recomputed. Copies
    made once a step have the same bits, and their gradients reach the weights as those of a cast.

    Attributes:
        weight_copies: weight and bias in the type of autocast, as they are in this step; None:
            autocast casts them. `StepOptimWrapper` sets it.
    """

    weight_copies: tuple[Tensor, ...] | None = None

    def weights(self) -> tuple[Tensor, Tensor]:
        """Weight (O, I) and bias (O,) to compute with."""
        copies, device = self.weight_copies, self.weight.device.type
        if copies is None or not torch.is_autocast_enabled(device):
            return self.weight, self.bias
        weight, bias = map(Copied.apply, (self.weight, self.bias), copies)
        return weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., N, I) to (..., N, O)."""
        return F.linear(x, *self.weights())


class Copied(torch.autograd.Function):
    """A cast of a weight whose result is there already."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        """`copy`, which holds the values of `weight`."""
        ctx.dtype = weight.dtype
        return copy.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None]:
        """The gradient of the weight, in its type."""
        return grad_out.to(ctx.dtype), None
