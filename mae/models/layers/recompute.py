"""Less memory for some time: what the backward pass computes again instead of finding it kept."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# 'cheap': softmax (where products of a CPU make it) and GELU. 'blocks': all between two blocks.
Recompute = Literal['nothing', 'cheap', 'blocks']


def check_recompute(value: str) -> None:
    """Raises ValueError where `value` is no `Recompute`."""
    if value not in get_args(Recompute):
        raise ValueError(f'recompute must be one of {get_args(Recompute)}, not {value!r}')


def keeping_inputs(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """`function(*inputs)`, whose backward pass runs it again, with the same random numbers."""
    return checkpoint(function, *inputs, use_reentrant=False)


def linear_of(cheap: Callable[[Tensor], Tensor], x: Tensor, linear: nn.Linear) -> Tensor:
    """`linear(cheap(x))`, whose backward pass computes `cheap(x)` again, bit for bit.

    Not the product: running again stops at the last value that the gradients need, its input.
    """

    def product(x: Tensor) -> Tensor:
        out: Tensor = linear(cheap(x))
        return out

    return checkpoint(product, x, use_reentrant=False, preserve_rng_state=False)
