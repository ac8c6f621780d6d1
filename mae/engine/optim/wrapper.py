"""One optimizer step over all micro-batches of a global batch, in mixed precision."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mae.registry import OPTIM_WRAPPERS

_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapper(OptimWrapper):
    """Accumulates gradients over the micro-batches of a step and updates once.

    mmengine's wrappers count micro-batches over the whole run and weigh all alike; here the loop
    announces each step, so that none is lost and a smaller one counts for its samples.

    Args:
        optimizer: built by the constructor.
        amp: 'bfloat16' (no scaler), 'float16' (with a gradient scaler) or None for float32.
        clip_grad: arguments of `torch.nn.utils.clip_grad_norm_`, or None.

    Raises:
        ValueError: unknown `amp`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        amp: Literal['bfloat16', 'float16'] | None = None,
        clip_grad: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, clip_grad=None if clip_grad is None else dict(clip_grad))
        if amp is not None and amp not in _DTYPES:
            raise ValueError(
                f"optim_wrapper.amp must be 'bfloat16', 'float16' or None, not {amp!r}"
            )
        self._device = get_device()
        self._dtype = _DTYPES[amp] if amp else None
        self._scaler = torch.amp.GradScaler(self._device, enabled=amp == 'float16')
        self._weights: Sequence[float] = [1.0]
        self._done = 0

    def begin_step(self, weights: Sequence[float]) -> None:
        """Announce a step of `len(weights)` micro-batches whose losses are weighted so."""
        self._weights = weights
        self._done = 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, without gradient exchange before the last micro-batch of a step."""
        autocast = torch.autocast(self._device, self._dtype, enabled=self._dtype is not None)
        with super().optim_context(model), autocast:
            yield

    def should_sync(self) -> bool:
        return self._done + 1 == len(self._weights)

    def should_update(self) -> bool:
        return self._done == len(self._weights)

    def scale_loss(self, loss: Tensor) -> Tensor:
        return loss * self._weights[self._done]

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        super().backward(self._scaler.scale(loss), **kwargs)
        self._done += 1

    def step(self, **kwargs: Any) -> None:
        if self.clip_grad_kwargs:
            self._scaler.unscale_(self.optimizer)
            self._clip_grad()
        self._scaler.step(self.optimizer, **kwargs)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = super().state_dict()
        if self._scaler.is_enabled():
            state['loss_scaler'] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        if (scaler := state.pop('loss_scaler', None)) and self._scaler.is_enabled():
            self._scaler.load_state_dict(scaler)
        super().load_state_dict(state)
