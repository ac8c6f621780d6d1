"""Layer-wise adaptive rate scaling (You et al. 2017) as the authors' linear probe runs it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mae.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD whose step is scaled, parameter by parameter, by its weight over its gradient.

    With u = g + weight_decay * w: trust = eta * |w| / |u| (1 where either norm is 0), then
    m = momentum * m + trust * u and w = w - lr * m.

    mmpretrain's keeps the learning rate inside m, so that a step still moves by the rates of the
    steps before, which lags behind a warm-up; its |u| is |g| + weight_decay * |w|; and it reads
    both norms back from the device at every parameter. Here the host does not wait.

    Attributes:
        found_inf: float (); if it is not 0, the step changes nothing. None: it always does.

    Args:
        params: parameters or groups; a group with `lars_exclude=True` takes trust 1.
        lr: learning rate.
        momentum: factor of m.
        weight_decay: for all parameters of a group; `GroupedOptimConstructor` exempts vectors.
        eta: factor of trust.

    Raises:
        ValueError: a negative number.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
    ) -> None:
        options = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'eta': eta}
        for name, value in options.items():
            if value < 0:
                raise ValueError(f'LARS: {name} must not be negative, got {value}')
        super().__init__(params, {**options, 'lars_exclude': False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    self._move(param, group)
        return loss

    def _move(self, param: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = torch.zeros_like(param)
        momentum = self._momentum(param, group)
        change = momentum * group['lr']
        if self.found_inf is not None:
            skip = self.found_inf > 0
            momentum = torch.where(skip, state['momentum_buffer'], momentum)
            change = torch.where(skip, 0.0, change)
        state['momentum_buffer'].copy_(momentum)
        param.sub_(change)

    def _momentum(self, param: Tensor, group: dict[str, Any]) -> Tensor:
        """The momentum m of this step; the caller stores it."""
        update = param.grad + group['weight_decay'] * param
        if not group['lars_exclude']:
            update *= _trust(param, update, group['eta'])
        buffer: Tensor = self.state[param]['momentum_buffer']
        momentum: Tensor = buffer * group['momentum'] + update
        return momentum


def _trust(param: Tensor, update: Tensor, eta: float) -> Tensor:
    """eta * |w| / |u|, a scalar on the parameter's device."""
    weight, change = param.norm(), update.norm()
    return torch.where((weight > 0) & (change > 0), eta * weight / change, 1.0)
