"""The training loop: one iteration is one optimizer step on one global batch."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mae.engine.cuda_graph import GraphedStep
from mae.engine.data_loaders import has_own_sampler
from mae.engine.device_prefetcher import Batch, StepLoader
from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.signals import RolledBack, Stopped
from mae.fault_tolerance.step_report import Reports, measure
from mae.registry import LOOPS
from mae.utils.errors import ConfigError
from mae.utils.hashing import derive
from mae.utils.norm_statistics import average, statistics_of_process
from mae.utils.seeding import seed_generators

# Steps after which a GPU's report is read: with two steps queued, it never runs dry.
_LAG = 2


@LOOPS.register_module()
class TrainLoop(BaseLoop):
    """Trains for a number of epochs or steps; a pure function of the config and the step.

    Calls mmengine's hook points and three of its own: `after_report(runner, report)` with the
    `StepReport` of each step, on a GPU two steps later; `after_step(runner)` at each step boundary,
    where `runner.iter` counts the steps done and a hook may save, raise `Stopped`, or resume from a
    checkpoint and raise `RolledBack`; `on_interrupt(runner)` before the state is saved in the
    middle of a validation.

    Args:
        dataloader: data loader over micro-batches, or its config.
        max_epochs: length of the run; None with `max_steps`.
        val_begin: first epoch (from 1) after which to validate.
        val_interval: epochs between validations, or with `max_steps` steps.
        max_steps: length of the run in optimizer steps, if it is no whole number of epochs.

    Raises:
        ConfigError: neither or both lengths, one below 1, or a sampler that keeps no global batch.
    """

    runner: TrainingRunner
    dataloader: StepLoader

    def __init__(
        self,
        runner: TrainingRunner,
        dataloader: DataLoader[Any] | Mapping[str, Any],
        max_epochs: int | None = None,
        val_begin: int = 1,
        val_interval: int = 1,
        *,
        max_steps: int | None = None,
    ) -> None:
        if (max_epochs is None) == (max_steps is None):
            raise ConfigError(
                f'train_cfg needs max_epochs or max_steps, and not both: got {max_epochs} and '
                f'{max_steps}'
            )
        lengths = {'max_epochs': max_epochs, 'max_steps': max_steps, 'val_interval': val_interval}
        for name, length in lengths.items():
            if length is not None and length < 1:
                raise ConfigError(f'train_cfg.{name} must be at least 1, not {length}')
        if isinstance(dataloader, Mapping):
            if not has_own_sampler(dataloader):
                raise _misfit(dataloader['sampler'])
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        if not hasattr(dataloader.batch_sampler, 'steps_per_epoch'):
            raise _misfit(dataloader.batch_sampler)
        super().__init__(runner, StepLoader(dataloader))
        self.max_steps = max_steps
        self.max_iters = max_steps or (max_epochs or 0) * len(self.dataloader)
        self.max_epochs = -(-self.max_iters // len(self.dataloader))
        self.val_begin = val_begin
        self.val_interval = val_interval
        self.stop_training = False  # set by mmengine's EarlyStoppingHook
        self.epoch = 0  # whole epochs done
        self.iter = 0  # optimizer steps done
        self._is_moved = False  # to a checkpoint's step, and no step done since
        self.left_out: list[tuple[int, int]] = []  # ranges a <= step < b that are not trained on
        self._statistics: list[Tensor] = []  # of batch norms, different by process after a step
        self.graphed_step: GraphedStep | None = None  # with `cuda_graph`, for `train_step`
        self.reports = Reports(_LAG if torch.cuda.is_available() else 0)

    def go_to(self, step: int) -> None:
        """Continue after `step` optimizer steps, wherever in an epoch that is.

        The validation that follows this step, and after the last step of an epoch the hooks too,
        run again, since the checkpoint does not show whether they had been completed.
        """
        self.iter = step
        self._is_moved = True
        self.epoch = max(step - 1, 0) // len(self.dataloader)
        self.reports.clear()

    def run(self) -> nn.Module:
        """Train from the current step to the end."""
        runner = self.runner
        runner.call_hook('before_train')
        self._statistics = statistics_of_process(runner.model)
        while self.epoch < self.max_epochs and not self.stop_training:
            try:
                self._run_epoch()
            except RolledBack:
                continue
            if runner.val_loop is not None and self._validation_is_due():
                runner.val_loop.run()
        runner.call_hook('after_train')
        return runner.model

    def _run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first_step = self.iter - self.epoch * len(self.dataloader)
        steps = self.dataloader.epoch(self.epoch, first_step)
        last_step = min(len(self.dataloader), self.max_iters - self.epoch * len(self.dataloader))
        if self._is_moved:
            self._is_moved = False
            self._validate_in_epoch()
        for step in range(first_step, last_step):
            batches = self._wait_for(steps)
            if any(start <= self.iter < stop for start, stop in self.left_out):
                self._skip_step(step, batches)
            else:
                self._run_step(step, batches)
            self.iter += 1
            self._call_after_report(None)
            self.runner.call_hook('after_step')
            self._validate_in_epoch()
            if self.stop_training:
                break
        self._call_after_report(0)
        self.runner.call_hook('after_train_epoch')
        self.epoch += 1

    def _wait_for(self, steps: Iterator[list[Batch]]) -> list[Batch]:
        signals = self.runner.signals
        if signals is None or self.runner.distributed:  # other processes may be in the step already
            return next(steps)
        try:
            with signals.waiting():
                return next(steps)
        except Stopped:
            self.runner.call_hook('after_step')
            raise

    def _run_step(self, step: int, batches: list[Batch]) -> None:
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=step, data_batch=batches)
        seed_generators(derive(runner.seed, self.iter, runner.rank))
        # The mean over the global batch, although gradients are averaged over the processes.
        share = runner.world_size / self.dataloader.step_size(step)
        weights = [len(batch['ids']) * share for batch in batches]
        runner.optim_wrapper.begin_step(weights)
        model: Any = runner.model  # mmengine's or its wrapper: a module with `train_step`
        train_step = self.graphed_step or model.train_step
        to_device = self.dataloader.prefetcher.to_device
        # Each micro-batch is copied when its turn comes: only the ones in use are on the device.
        outputs = [train_step(to_device(batch), runner.optim_wrapper) for batch in batches]
        average(self._statistics)
        logs = self._measure(outputs, weights)
        runner.call_hook('after_train_iter', batch_idx=step, data_batch=batches, outputs=logs)

    def _skip_step(self, step: int, batches: list[Batch]) -> None:
        """Skip a step: the schedule goes on, the weights stay."""
        self.runner.call_hook('before_train_iter', batch_idx=step, data_batch=batches)
        self.runner.call_hook('after_train_iter', batch_idx=step, data_batch=batches, outputs=None)

    def _measure(self, outputs: list[dict[str, Tensor]], weights: list[float]) -> dict[str, Tensor]:
        stop_requested = self.runner.stop_signum != 0
        wrapper = self.runner.optim_wrapper
        logs, report = measure(outputs, weights, wrapper.skipped, stop_requested)
        self.reports.push(self.iter, report)
        return logs if wrapper.grad_norm is None else {**logs, 'grad_norm': wrapper.grad_norm}

    def _call_after_report(self, lag: int | None) -> None:
        for report in self.reports.due(lag):
            self.runner.call_hook('after_report', report=report)

    def _validation_is_due(self) -> bool:
        if self.epoch == self.max_epochs:
            return True
        if self.max_steps is not None:
            return False
        return self.epoch >= self.val_begin and self.epoch % self.val_interval == 0

    def _validate_in_epoch(self) -> None:
        """Validate if a run in steps does so here; its last validation is the one at the end."""
        if self.runner.val_loop is None or self.max_steps is None:
            return
        if 0 < self.iter < self.max_iters and self.iter % self.val_interval == 0:
            self.runner.val_loop.run()
            self.runner.model.train()


def _misfit(sampler: object) -> ConfigError:
    name = sampler.get('type') if isinstance(sampler, Mapping) else type(sampler).__name__
    return ConfigError(
        f"train_dataloader: TrainLoop needs sampler.type='GlobalBatchSampler', not {name}; take "
        "that, or mmengine's loop with train_cfg=dict(by_epoch=True, max_epochs=...)"
    )
