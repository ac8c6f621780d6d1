"""mmengine's average of the weights, without skipped steps."""

import torch
from mmengine.hooks import EMAHook as MMEMAHook
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mae.fault_tolerance.checkpoint.io import Checkpoint
from mae.fault_tolerance.runner import TrainingRunner
from mae.registry import HOOKS, MODELS
from mae.utils.sharded import copy_parts, is_sharded, like, local, reshard


def update_average(
    average: ExponentialMovingAverage, model: nn.Module, skipped: Tensor | None = None
) -> None:
    """What `average.update_parameters(model)` does after its first step, of all weights at once.

    The same bits as of one `lerp_` a weight. Where the device decides, torch has no kernel for many
    weights at once, but it takes one call from Python instead of several for each weight.

    Args:
        skipped: float (), 1 where the weights did not change and the average must not either; None:
            they have changed.
    """
    found: dict[str, Tensor] = dict(
        model.state_dict() if average.update_buffers else model.named_parameters()
    )
    if average.steps % average.interval == 0:
        pairs = [
            (local(mean.data), local(found[name].data).to(mean.device))
            for name, mean in average.avg_parameters.items()
            if mean.dtype.is_floating_point
        ]
        means, values = [mean for mean, _ in pairs], [value for _, value in pairs]
        if skipped is None:
            torch._foreach_lerp_(means, values, average.momentum)
        else:
            momentum = average.momentum * (1 - skipped).to(means[0].device)
            torch._foreach_lerp_(means, values, [momentum] * len(means))
    if not average.update_buffers:
        for kept, buffer in zip(average.module.buffers(), model.buffers(), strict=True):
            kept.data.copy_(buffer.data.to(kept.device))
    average.steps += 1


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

    def before_run(self, runner: TrainingRunner) -> None:
        """Make the average; of a sharded model in the same parts, as it cannot be copied itself."""
        if is_sharded(runner.model):
            self.src_model = runner.model
            arguments = {'model': copy_parts(runner.model)}
            self.ema_model = MODELS.build(self.ema_cfg, default_args=arguments)
        else:
            super().before_run(runner)

    def after_load_checkpoint(self, runner: TrainingRunner, checkpoint: Checkpoint) -> None:
        """Restore the average; without one in the checkpoint the first step begins it."""
        if is_sharded(runner.model):
            if runner.resumed_from is None:
                return
            own = runner.model.state_dict()
            for key in {'state_dict', 'ema_state_dict'} & checkpoint.keys():
                checkpoint[key] = {
                    name: like(value, own.get(name.removeprefix('module.'), value))
                    for name, value in checkpoint[key].items()
                }
        super().after_load_checkpoint(runner, checkpoint)

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
        is_plain = type(average) is ExponentialMovingAverage
        on_device = runner.optim_wrapper.skips_on_device and is_plain
        if not on_device and skipped:
            return
        if is_plain and self._ema_started(runner) and average.steps > 0:
            update_average(average, self.src_model, skipped if on_device else None)
        else:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def on_interrupt(self, runner: TrainingRunner) -> None:
        """Swap the weights back if a validation is interrupted."""
        if self._is_swapped:
            self._swap_ema_parameters()

    def _swap_ema_parameters(self) -> None:
        reshard(self.src_model)
        with torch.no_grad():
            super()._swap_ema_parameters()
        self._is_swapped = not self._is_swapped
