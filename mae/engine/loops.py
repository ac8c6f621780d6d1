"""The training loop: one iteration is one optimizer step on one global batch."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import BaseLoop
from torch import Tensor, nn

from mae.engine.step_loader import Batch, StepLoader
from mae.registry import LOOPS
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators


@LOOPS.register_module()
class TrainLoop(BaseLoop):
    """Trains for a number of epochs; a pure function of the config and the step.

    Args:
        runner: the runner.
        dataloader: data loader over micro-batches, or its config.
        max_epochs: length of the run.
        val_begin: first epoch (from 1) after which to validate.
        val_interval: epochs between validations.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
    ) -> None:
        if max_epochs < 1:
            raise ValueError(f'train_cfg.max_epochs must be at least 1, not {max_epochs}')
        if isinstance(dataloader, Mapping):
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        super().__init__(runner, StepLoader(dataloader))
        self.max_epochs = max_epochs
        self.max_iters = max_epochs * len(self.dataloader)
        self.val_begin = val_begin
        self.val_interval = val_interval
        self.stop_training = False  # set by mmengine's EarlyStoppingHook
        self.epoch = 0  # whole epochs done
        self.iter = 0  # optimizer steps done

    def go_to(self, step: int) -> None:
        """Continue after `step` optimizer steps, wherever in an epoch that is."""
        self.iter = step
        self.epoch = step // len(self.dataloader)

    def run(self) -> nn.Module:
        """Train from the current step to the end."""
        runner = self.runner
        runner.call_hook('before_train')
        while self.epoch < self.max_epochs and not self.stop_training:
            self._run_epoch()
            if runner.val_loop is not None and self._validation_is_due():
                runner.val_loop.run()
        runner.call_hook('after_train')
        model: nn.Module = runner.model
        return model

    def _run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first_step = self.iter - self.epoch * len(self.dataloader)
        steps = self.dataloader.epoch(self.epoch, first_step)
        for step, batches in enumerate(steps, first_step):
            self._run_step(step, batches)
        self.runner.call_hook('after_train_epoch')
        self.epoch += 1

    def _run_step(self, step: int, batches: list[Batch]) -> None:
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=step, data_batch=batches)
        seed_generators(derive(runner.seed, self.iter, runner.rank))
        # The mean over the global batch, although gradients are averaged over the processes.
        share = runner.world_size / self.dataloader.step_size(step)
        weights = [len(batch['ids']) * share for batch in batches]
        runner.optim_wrapper.begin_step(weights)
        outputs = [runner.model.train_step(batch, runner.optim_wrapper) for batch in batches]
        logs = {
            name: _global_mean([output[name] for output in outputs], weights) for name in outputs[0]
        }
        runner.call_hook('after_train_iter', batch_idx=step, data_batch=batches, outputs=logs)
        self.iter += 1

    def _validation_is_due(self) -> bool:
        if self.epoch == self.max_epochs:
            return True
        return self.epoch >= self.val_begin and self.epoch % self.val_interval == 0


def _global_mean(values: list[Tensor], weights: list[float]) -> Tensor:
    """The mean over the global batch, as one process would have logged it."""
    mean = torch.stack([v.detach() * w for v, w in zip(values, weights, strict=True)]).sum()
    all_reduce(mean, op='mean')
    return mean
