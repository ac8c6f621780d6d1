"""mmengine's average of the weights, without skipped steps."""

import torch
from mmengine.hooks import EMAHook as MMEMAHook
from mmengine.model import ExponentialMovingAverage
from torch import Tensor

from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS


@HOOKS.register_module()
class EMAHook(MMEMAHook):
    """Averages the weights after each step that changed them, and validates with the average.

    A step that was skipped, because a loss or gradient was not finite, does not count. For an
    `ExponentialMovingAverage` on a GPU that is decided on the device.

    Args:
        options: arguments of mmengine's hook and of its `ema_type`.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._is_swapped = False

    def after_train_iter(
        self,
        runner: TrainingRunner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Update the average, unless the step was skipped."""
        if outputs is None:
            return
        skipped: Tensor = runner.optim_wrapper.skipped
        average = self.ema_model
        if runner.optim_wrapper.skips_on_device and type(average) is ExponentialMovingAverage:
            momentum = average.momentum
            average.momentum = momentum * (1 - skipped)
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            average.momentum = momentum
        elif not skipped:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def on_interrupt(self, runner: TrainingRunner) -> None:
        """Swap the weights back if a validation is interrupted."""
        if self._is_swapped:
            self._swap_ema_parameters()

    def _swap_ema_parameters(self) -> None:
        with torch.no_grad():
            super()._swap_ema_parameters()
        self._is_swapped = not self._is_swapped
