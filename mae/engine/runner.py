"""mmengine's runner with its traps closed (see docs/en/design/mmengine.md)."""

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import BaseLoop
from mmengine.runner import Runner as MMRunner
from torch import nn
from torch.utils.data import DataLoader

from mae.engine.allocator import keep_freed_memory
from mae.engine.checkpoint import identity_of, save_checkpoint, training_state
from mae.engine.classes import check_classes, check_num_classes
from mae.engine.compile import compile_blocks
from mae.engine.data_loaders import build_data_loader
from mae.engine.distributed import TIMEOUT, init_distributed
from mae.engine.img_size import hand_down_img_size
from mae.engine.optim.rate import with_rate
from mae.engine.run_state import RunState
from mae.engine.start import load, resume, resume_latest
from mae.engine.stopping import StopSignals
from mae.utils.compat import versions
from mae.utils.errors import ConfigError, DataError
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

# Hooks of every run, unless the config has None or others in their places.
_OWN_HOOKS = {
    'guard': {'type': 'GuardHook'},
    'run_state': {'type': 'RunStateHook'},
    'stop': {'type': 'StopHook'},
    'watchdog': {'type': 'WatchdogHook'},
}


_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class Runner(MMRunner):
    """Builds everything a config names and runs it.

    Differs from mmengine's in that processes start without a GPU too, the global batch is kept
    on any number of devices, checkpoints hold plain values and are written whole, and resuming
    works at any step.

    Attributes:
        signals: that ask the run to stop; None where nobody listens.
        run_state: `run.json`; None but in the first process of a run that keeps one.
        resumed_from: the checkpoint that the run was continued from.
    """

    _has_loaded: bool
    signals: StopSignals | None = None
    run_state: RunState | None = None
    resumed_from: str | None = None

    @property
    def stop_signum(self) -> int:
        """The signal that has asked this process to stop, or 0."""
        return 0 if self.signals is None else self.signals.signum

    def train(self) -> nn.Module:
        """Train; however it ends, hooks with `after_all(runner)` are told."""
        try:
            model: nn.Module = super().train()
        finally:
            self.call_hook('after_all')
        return model

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'Runner':
        """Build a runner, also of a config that `load_config` has not read."""
        cfg = copy.deepcopy(cfg)
        hand_down_img_size(cfg)
        runner: Runner = super().from_cfg(cfg)
        return runner

    # --- starting -------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes, let mmengine set the rest, and keep a CPU's memory."""
        if self.distributed and not mmengine.dist.is_distributed():
            timeout = env_cfg.get('dist_cfg', {}).get('timeout', TIMEOUT)
            init_distributed(self.launcher, timeout)
        super().setup_env(env_cfg)
        if not torch.cuda.is_available():
            keep_freed_memory()

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """One line for what mmengine tells in a hundred; the config is a file in the work dir."""
        libraries = ', '.join(f'{name} {version}' for name, version in versions().items())
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
        self.logger.info(f'{libraries}; seed {self.seed}; {self.world_size} x {device}')

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> Any:
        """Wrap for distributed training; without a GPU there are no device ids to give."""
        if not self.distributed or model_wrapper_cfg is not None or torch.cuda.is_available():
            return super().wrap_model(model_wrapper_cfg, model)
        find_unused = self.cfg.get('find_unused_parameters', False)
        return MMDistributedDataParallel(
            module=model, broadcast_buffers=False, find_unused_parameters=find_unused
        )

    def build_model(self, model: Any) -> nn.Module:
        """mmengine's; what its parts say of their own keys gets the whole path."""
        try:
            built: nn.Module = super().build_model(model)
        except ValueError as error:
            part = str(error).partition('.')[0]
            is_key = isinstance(model, Mapping) and part in model
            raise type(error)(f'model.{error}') if is_key else error from None
        return built

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """mmengine's, less the one that tells samplers the epoch: `TrainLoop` does; and ours."""
        chosen = {**_OWN_HOOKS, **(hooks or {})}
        chosen = {name: hook for name, hook in chosen.items() if hook or name not in _OWN_HOOKS}
        super().register_default_hooks({'sampler_seed': None, **chosen})

    def _maybe_compile(self, target: str) -> None:
        """Compile the model's blocks if the config says `compile`; `target` is mmengine's."""
        blocks = self.bare_model.blocks() if hasattr(self.bare_model, 'blocks') else ()
        if compile_blocks(blocks, self.cfg.get('compile')):
            self.logger.info(f'{len(blocks)} blocks will be compiled in the first step')

    def _init_model_weights(self) -> None:
        """Start the weights as a function of the seed alone."""
        seed_generators(derive(self.seed, -1))
        self.bare_model.init_weights()
        for value in self.bare_model.state_dict().values():
            broadcast(value)

    def build_dataloader(
        self, dataloader: Mapping[str, Any], seed: int, diff_rank_seed: bool = False
    ) -> DataLoader[Any]:
        """Build a data loader whose batch sampler decides everything.

        Args:
            dataloader: its config.
            seed: of the run.
            diff_rank_seed: ignored: each process takes its share of one common order.
        """
        try:
            return build_data_loader(dataloader, seed, self.global_batch_size, self.world_size)
        except (ConfigError, DataError) as error:
            key = next((key for key in _LOADERS if self.cfg.get(key) == dataloader), None)
            raise type(error)(f'{key}: {error}') if key else error from None

    def build_val_loop(self, loop: Any) -> Any:
        """mmengine's; a classifier is validated on the classes that it is trained on."""
        built = super().build_val_loop(loop)
        if isinstance(self._train_loop, BaseLoop) and hasattr(self.bare_model, 'num_classes'):
            check_num_classes(self.bare_model.num_classes, self.train_dataloader.dataset)
            check_classes(self.train_dataloader.dataset, built.dataloader.dataset)
        return built

    @property
    def global_batch_size(self) -> int | None:
        """Samples of an optimizer step over all processes; None: what fits without accumulation."""
        if (self.auto_scale_lr or {}).get('enable'):
            return None
        size: int | None = self.cfg.get('global_batch_size')
        return size

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Derive the learning rate from the global batch, then build the optimizer."""
        if isinstance(optim_wrapper, dict):
            base_lr, sampler = self.cfg.get('base_lr'), self.train_dataloader.batch_sampler
            optim_wrapper, told = with_rate(optim_wrapper, base_lr, sampler, self.world_size)
            if told:
                self.logger.info(told)
        return super().build_optim_wrapper(optim_wrapper)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Any = None) -> None:
        """Nothing: the rule of `with_rate` holds for every batch."""

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> Any:
        """All schedules move at every iteration, as in the recipes."""
        configs = scheduler if isinstance(scheduler, list | tuple) else [scheduler]
        configs = [{'convert_to_iter_based': True, **config} for config in configs]
        return super()._build_param_scheduler(configs, optim_wrapper)

    # --- checkpoints ----------------------------------------------------------------------

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the samples: seed, global batch, the data set."""
        return identity_of(self)

    def training_checkpoint(self, step: int) -> dict[str, Any]:
        """All that the rest of the run depends on, after `step` optimizer steps.

        Its tensors are those of the run: the next step changes them.
        """
        checkpoint = training_state(self, step)
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str, *, step: int) -> None:
        """Write all that the rest of the run depends on, and wait for it.

        Args:
            out_dir: folder.
            filename: within it.
            step: optimizer steps done.
        """
        if is_main_process():
            save_checkpoint(self.training_checkpoint(step), Path(out_dir) / filename)

    def load_or_resume(self) -> None:
        """Do what `resume` and `load_from` ask for.

        `resume=True` continues the latest good checkpoint of the work dir, or starts if there is
        none.
        """
        if self._has_loaded:
            return
        if self._resume and self._load_from is not None:
            self.resume(self._load_from)
        elif self._resume:
            resume_latest(self)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        elif getattr(self.bare_model, 'trainable_blocks', None) is not None:
            self.logger.warning(
                'the frozen part of the encoder has random weights: give those of a pre-training '
                'with --load-from'
            )
        if self.cfg.get('resume_anyway') and not self._resume:
            self.logger.warning('resume_anyway has no effect without --resume')
        self._has_loaded = True

    def load_checkpoint(self, filename: str, **unused: Any) -> dict[str, Any]:
        """Load weights: all of them to test, the encoder's to judge its features or train it on."""
        return load(self, Path(filename))

    def resume(self, filename: str, **unused: Any) -> None:
        """Continue a run of this config after the step its checkpoint was written at.

        Raises:
            CheckpointError: it is damaged, of another model, or not a training checkpoint.
        """
        resume(self, Path(filename))

    @property
    def bare_model(self) -> Any:
        """The model without its wrapper for distributed training."""
        return getattr(self.model, 'module', self.model)
