"""One optimizer step over all micro-batches of a global batch, in mixed precision."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from mae.engine.optim.weight_copies import WeightCopies
from mae.registry import OPTIM_WRAPPERS
from mae.utils.command_line import Amp
from mae.utils.errors import ConfigError
from mae.utils.precision import dtype_of
from mae.utils.sharded import full, l2_norms, largest, local


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapper(OptimWrapper):
    """Accumulates gradients over the micro-batches of a step and updates once.

    mmengine's wrappers count micro-batches over the whole run with equal weights. Here the loop
    calls `begin_step` with a weight for each, so that the last step of an epoch is complete and a
    smaller micro-batch counts by its samples.

    A step with a loss or gradient that is not finite, in any process, changes neither weights nor
    optimizer. A bad loss makes all gradients of its process NaN, and after the all-reduce those of
    the others. On a GPU the optimizer's kernel skips the update, as with a gradient scaler, so that
    the host does not wait for the device.

    Args:
        optimizer: built by the constructor.
        amp: 'bfloat16' (no scaler), 'float16' (with a gradient scaler) or None for float32.
        clip_grad: arguments of `torch.nn.utils.clip_grad_norm_`, or None.
        skip_nonfinite: False also takes steps that are not finite.
        weight_copies: True copies the weights of linear layers to the type of `amp` once a step,
            where autocast casts them in each forward pass: the same bits in fewer kernels, for
            memory that lasts. None does so on a GPU, for models that can.

    Attributes:
        dtype: of autocast; None without it.
        skipped: float (), 1 where the last step was skipped, else 0.
        skips_on_device: the device decides whether to skip; reading `skipped` waits for it.
        losses: weighted losses of the micro-batches of the last step, in this process.
        grad_norms: L2 norm of the gradient of each parameter, in the order of the optimizer's
            groups (times the loss scale, if there is one); None after a good step on a CPU.
        grad_norm: norm of all gradients before they were clipped, float (), on their device; None
            without clipping by a norm.

    Raises:
        ConfigError: unknown `amp`, or one that the device lacks; copies of weights without `amp`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        amp: Amp | None = None,
        clip_grad: Mapping[str, Any] | None = None,
        skip_nonfinite: bool = True,
        weight_copies: bool | None = None,
    ) -> None:
        super().__init__(optimizer, clip_grad=None if clip_grad is None else dict(clip_grad))
        self._device = get_device()
        self.dtype = dtype_of(amp, 'optim_wrapper.amp', self._device)
        self.amp = amp
        self._scaler = torch.amp.GradScaler(self._device, enabled=amp == 'float16')
        if weight_copies and self.dtype is None:
            raise ConfigError("optim_wrapper.weight_copies=True needs amp, such as 'bfloat16'")
        self._requires_copies = weight_copies is True
        by_default = weight_copies is None and self._device == 'cuda' and self.dtype is not None
        self._wants_copies = self._requires_copies or by_default
        self._copies: WeightCopies | None = None
        self._weights: Sequence[float] = [1.0]
        self._done = 0
        self._skip_nonfinite = skip_nonfinite
        self.skips_on_device = skip_nonfinite and self._can_skip_on_device()
        self.skipped = torch.zeros((), device=self._device)
        self.losses: list[Tensor] = []
        self.grad_norms: Tensor | None = None
        self.grad_norm: Tensor | None = None
        self._is_led = False  # by a loop that calls `begin_step`, and logs `grad_norm` itself

    def begin_step(self, weights: Sequence[float]) -> None:
        """Begin a step of `len(weights)` micro-batches, whose losses get these weights."""
        self._is_led = True
        self._begin(weights)

    def _begin(self, weights: Sequence[float]) -> None:
        self._weights = weights
        self._done = 0
        self.losses = []
        self.grad_norms = self.grad_norm = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, without all-reduce of gradients before the last micro-batch of a step."""
        autocast = torch.autocast(self._device, self.dtype, enabled=self.dtype is not None)
        if self._number == 0:
            self._copy_weights(model)
        if isinstance(model, FSDPModule):  # it has no `no_sync`
            model.set_requires_gradient_sync(self.should_sync())
        with super().optim_context(model), autocast:
            yield

    def _copy_weights(self, model: nn.Module) -> None:
        """Write the copies of this step.

        Raises:
            ConfigError: they are asked for, and the model cannot compute with them.
        """
        if self._copies is None and self._wants_copies:
            self._copies = WeightCopies.of(model, self.dtype, required=self._requires_copies)
            self._wants_copies = self._copies is not None
        if self._copies is not None:
            self._copies.write()

    @property
    def loss_weights(self) -> Sequence[float]:
        """Of the micro-batches of this step."""
        return self._weights

    def update_by_gradients(self, loss: Tensor) -> None:
        """Update with the gradients that a replayed CUDA graph has left, where they stay.

        Args:
            loss: of the only micro-batch, without its weight.
        """
        self.losses = [loss * self._weights[0]] if self._skip_nonfinite else []
        self._done = len(self._weights)
        self.step()

    @property
    def _number(self) -> int:
        """Of the next micro-batch in its step; a loop without `begin_step` begins anew."""
        return self._done % len(self._weights)

    def should_sync(self) -> bool:
        return self._number + 1 == len(self._weights)

    def should_update(self) -> bool:
        return self._done == len(self._weights)

    def scale_loss(self, loss: Tensor) -> Tensor:
        if self._done == len(self._weights):  # a loop without `begin_step`, such as mmengine's
            self._begin([1.0])
        return loss * self._weights[self._done]

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        if self._skip_nonfinite:
            seen = loss.detach()
            self.losses.append(seen)
            kwargs['gradient'] = seen * 0 + 1  # exactly 1, or NaN
        super().backward(self._scaler.scale(loss), **kwargs)
        self._done += 1
        if self._copies is not None and self._done == len(self._weights):
            self._copies.withdraw()

    def step(self, **kwargs: object) -> None:
        if self._skip_nonfinite:
            self._check_gradients()
        if not self.skips_on_device and not self.is_scaled and self.skipped:
            return
        if self.clip_grad_kwargs:
            self._scaler.unscale_(self.optimizer)
            self._clip_grad()
        if self.skips_on_device and not self.is_scaled:
            optimizer: Any = self.optimizer
            optimizer.grad_scale, optimizer.found_inf = None, self.skipped
            optimizer.step(**kwargs)
            del optimizer.grad_scale, optimizer.found_inf
            return
        self._scaler.step(self.optimizer, **kwargs)  # skips by itself
        self._scaler.update()

    def _clip_grad(self) -> None:
        """Clip as mmengine does, without reading the norm, which would wait for the device."""
        options = dict(self.clip_grad_kwargs)
        params = [p for group in self.optimizer.param_groups for p in group['params']]
        params = [param for param in params if param.grad is not None]
        if not params:
            return
        grads = [param.grad for param in params]
        known = self.grad_norms if not self.is_scaled else None  # else times the loss scale
        by_l2 = self._clips_by_l2(options)
        if by_l2 and known is None and isinstance(grads[0], DTensor):
            known = l2_norms(grads)  # with one all-reduce, where torch has one for each
        if by_l2 and known is not None:
            self.grad_norm = torch.linalg.vector_norm(known)
            max_norm = options['max_norm']
            torch.nn.utils.clip_grads_with_norm_(params, max_norm, self.grad_norm, foreach=True)
        else:
            norm = self.clip_func(params, **options)  # None if it clips by value
            self.grad_norm = None if norm is None else full(norm)
        if self.grad_norm is not None and not self._is_led:
            self.message_hub.update_scalar(f'train/{self.grad_name}', float(self.grad_norm))

    def _clips_by_l2(self, options: Mapping[str, Any]) -> bool:
        """Whether the norms that the check of gradients has computed are those to clip by."""
        by_norm = self.clip_func is torch.nn.utils.clip_grad_norm_
        return (
            by_norm
            and not set(options) - {'max_norm', 'norm_type'}
            and (float(options.get('norm_type', 2)) == 2)
        )

    @property
    def is_scaled(self) -> bool:
        """Whether a gradient scaler is in use, which skips steps to find its scale."""
        enabled: bool = self._scaler.is_enabled()
        return enabled

    def _can_skip_on_device(self) -> bool:
        """Adam(W) with `fused=True`, and our LARS; torch's SGD would get a wrong first momentum."""
        optimizer = self.optimizer
        supported = getattr(optimizer, '_step_supports_amp_scaling', False)
        supported = supported and not isinstance(optimizer, torch.optim.SGD)
        return self._device == 'cuda' and (supported or hasattr(optimizer, 'found_inf'))

    def _check_gradients(self) -> None:
        """Set `skipped`: whether a gradient is not finite, after the all-reduce."""
        groups = self.optimizer.param_groups
        grads = [p.grad for group in groups for p in group['params'] if p.grad is not None]
        if not grads:
            return
        if grads[0].is_cuda:  # two kernels, and the norms are there for an autopsy
            self.grad_norms = l2_norms(grads)
            self.skipped = 1 - self.grad_norms.sum().isfinite().float()
            return
        # Multiplies by 1, at half the cost of norms on a CPU.
        found, one = torch.zeros(()), torch.ones(())
        torch._amp_foreach_non_finite_check_and_unscale_(list(map(local, grads)), found, one)
        self.skipped = largest(found, grads[0])
        if self.skipped:
            self.grad_norms = l2_norms(grads)

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
