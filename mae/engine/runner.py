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

from mae.engine.batch import batch_per_device
from mae.engine.checkpoint import (
    Choice,
    check_given,
    check_resumable,
    choose_checkpoint,
    fit_weights,
    identity_of,
    load_checkpoint,
    load_weights,
    on_main,
    restore_state,
    save_checkpoint,
    together,
    training_state,
)
from mae.engine.classes import check_classes
from mae.engine.compile import compile_blocks
from mae.engine.distributed import TIMEOUT, init_distributed
from mae.engine.run_state import RunState
from mae.engine.stopping import StopSignals
from mae.engine.workers import prepare_worker
from mae.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS
from mae.utils.compat import versions
from mae.utils.errors import CheckpointError, ConfigError
from mae.utils.hashing import derive
from mae.utils.seeding import seed_generators

# Hooks of every run, unless the config has None or others in their places.
_OWN_HOOKS = {
    'guard': {'type': 'GuardHook'},
    'run_state': {'type': 'RunStateHook'},
    'stop': {'type': 'StopHook'},
    'watchdog': {'type': 'WatchdogHook'},
}


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

    # --- starting -------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes, then let mmengine set the rest."""
        if self.distributed and not mmengine.dist.is_distributed():
            timeout = env_cfg.get('dist_cfg', {}).get('timeout', TIMEOUT)
            init_distributed(self.launcher, timeout)
        super().setup_env(env_cfg)

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
            dataloader: config with `dataset`, `sampler`, `batch_size`, `collate_fn`; the rest goes
                to `torch.utils.data.DataLoader`.
            seed: of the run.
            diff_rank_seed: ignored: each process takes its share of one common order.
        """
        options = copy.deepcopy(dict(dataloader))
        for key in ('dataset', 'sampler', 'batch_size'):
            if not options.get(key):
                raise ConfigError(f'a data loader of the config is incomplete: {key} is missing')
        dataset = DATASETS.build(options.pop('dataset'))
        if not hasattr(dataset, '__getitems__'):
            raise ConfigError(
                f'{type(dataset).__name__} takes no (sample id, key): give it to a dataset of '
                "type='SeededDataset' as its source"
            )
        sampler: dict[str, Any] = dict(options.pop('sampler'))
        batch_size: int = options.pop('batch_size')
        given = {'dataset': dataset, 'batch_size': batch_size}
        if sampler['type'] == 'GlobalBatchSampler':
            given['seed'] = seed  # evaluation draws the same masks whatever the run's seed
            if (G := self.global_batch_size) is not None:
                given['batch_size'] = batch_per_device(batch_size, G, self.world_size)
                given['global_batch_size'] = G
        collate = FUNCTIONS.get(options.pop('collate_fn', {'type': 'collate'})['type'])
        if (ahead := options.get('prefetch_factor')) is not None and ahead < 1:
            raise ConfigError(f"a data loader's prefetch_factor must be at least 1, not {ahead}")
        if not options.get('num_workers'):
            options.pop('persistent_workers', None)
            options.pop('prefetch_factor', None)
        return DataLoader(
            dataset,
            batch_sampler=DATA_SAMPLERS.build(sampler, default_args=given),
            collate_fn=collate,
            worker_init_fn=prepare_worker,
            **options,
        )

    def build_val_loop(self, loop: Any) -> Any:
        """mmengine's; a classifier is validated on the classes that it is trained on."""
        built = super().build_val_loop(loop)
        if isinstance(self._train_loop, BaseLoop) and hasattr(self.bare_model, 'num_classes'):
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
        base_lr = self.cfg.get('base_lr')
        if isinstance(optim_wrapper, dict):
            optim_wrapper = copy.deepcopy(optim_wrapper)
            optimizer = optim_wrapper.get('optimizer')
            if not optimizer:
                raise ConfigError('optim_wrapper.optimizer is missing')
            if ('lr' in optimizer) == (base_lr is not None):
                which = 'are both' if 'lr' in optimizer else 'are neither of them'
                raise ConfigError(
                    f'base_lr and optim_wrapper.optimizer.lr {which} set; keep base_lr, from '
                    'which lr = base_lr * global_batch_size / 256 follows, or lr and base_lr=None'
                )
            if base_lr is not None:
                optimizer['lr'] = self._derive_lr(base_lr)
        return super().build_optim_wrapper(optim_wrapper)

    def _derive_lr(self, base_lr: float) -> float:
        sampler = self.train_dataloader.batch_sampler
        G: int = sampler.global_batch_size
        lr = base_lr * G / 256
        self.logger.info(
            f'lr {lr:g} = {base_lr:g} x {G} / 256; {G} = {sampler.batch_size} per device x '
            f'{self.world_size} devices x {sampler.accumulation} accumulation'
        )
        return lr

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Any = None) -> None:
        """Nothing: the rule of `_derive_lr` holds for every batch."""

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
            self._resume_latest()
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
        path = Path(filename)
        checkpoint = load_weights(path)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        loop = self._test_loop
        needs_all = isinstance(loop, BaseLoop) and not getattr(loop, 'features_only', False)
        report = fit_weights(
            self.bare_model,
            checkpoint['state_dict'],
            path,
            exact=needs_all,
            facts=checkpoint['facts'],
            notes=checkpoint['notes'],
            classes=self._classes_to_learn(),
        )
        self.logger.info(f'{path}: {report}')
        return checkpoint

    def _classes_to_learn(self) -> list[str] | None:
        """Names of the classes that a classifier is trained on, if its data set knows them."""
        if not isinstance(self._train_loop, BaseLoop) or not hasattr(self.bare_model, 'head'):
            return None
        names = getattr(self.train_dataloader.dataset, 'metainfo', {}).get('classes')
        return [str(name) for name in names] if names else None

    def resume(self, filename: str, **unused: Any) -> None:
        """Continue a run of this config after the step its checkpoint was written at.

        Raises:
            CheckpointError: it is damaged, of another model, or not a training checkpoint.
        """
        warn = self.logger.warning
        self._continue(on_main(lambda: check_given(Path(filename), warn)))

    def _resume_latest(self) -> None:
        work_dir, steps = Path(self.work_dir), len(self.train_dataloader)
        warn = self.logger.warning
        choice = on_main(lambda: choose_checkpoint(work_dir, steps, warn))
        if choice is not None:
            self._continue(choice)
        else:
            self.logger.info(f'nothing to resume in {self.work_dir}: starting anew')

    def _continue(self, choice: Choice) -> None:
        self._resume = True  # for the hooks that restore their part

        def restore() -> list[str]:
            checkpoint = load_checkpoint(choice.path, verified=choice.verified)
            anyway = self.cfg.get('resume_anyway') or ()
            changed = check_resumable(self, checkpoint, choice.path, anyway)
            told = [f'{change}: resumed all the same, with other samples' for change in changed]
            try:
                self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
                told += restore_state(self, checkpoint, choice.path)
            except CheckpointError:
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                reason = f'{choice.path} cannot be resumed: it holds the state of another run'
                raise CheckpointError(f'{reason} ({type(error).__name__}: {error})') from error
            return told

        self.resumed_from = str(choice.path)
        for message in together(restore):
            self.logger.warning(message)
        self.logger.info(f'resumed {choice.path} after step {self.iter}')

    @property
    def bare_model(self) -> Any:
        """The model without its wrapper for distributed training."""
        return getattr(self.model, 'module', self.model)
