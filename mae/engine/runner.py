"""mmengine's runner with its traps closed (see docs/en/design/mmengine.md).

In the order of a run: the environment, the model, the data and their loops, the optimizer, the
hooks, and last the checkpoints, of which `start.py` and `mae/fault_tolerance/checkpoint` know more.
A step itself is in `loops.py` and `optim/wrapper.py`.
"""

import copy
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from inspect import isclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmengine
import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import (
    MMDistributedDataParallel,
    is_model_wrapper,
    revert_sync_batchnorm,
)
from mmengine.optim import _ParamScheduler
from mmengine.runner import BaseLoop
from mmengine.runner import LogProcessor as MMLogProcessor
from mmengine.runner import Runner as MMRunner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mae.engine.classes import check_classes, check_num_classes
from mae.engine.compile import (
    CompileTimeHook,
    compile_blocks,
    compiled_parts,
    without_recompiling,
)
from mae.engine.cuda_graph import GraphedStep, check_recordable, require_gpu
from mae.engine.data_loaders import (
    build_data_loader,
    has_own_sampler,
    with_global_batch,
    with_workers,
)
from mae.engine.hooks.default import default_hooks
from mae.engine.hooks.logging import LogProcessor
from mae.engine.img_size import fill_in_img_size
from mae.engine.loops import TrainLoop
from mae.engine.optim.rate import configures_one_optimizer, with_rate
from mae.engine.optim.schedule import at_each_step
from mae.engine.sharding import Parallelism, check_shardable, shard
from mae.engine.start import announce, begin, describe, load, resume
from mae.fault_tolerance.agreement import check_started_alike
from mae.fault_tolerance.checkpoint import (
    identity_of,
    mmengine_checkpoint,
    save_checkpoint,
    training_state,
)
from mae.fault_tolerance.checkpoint.background import Snapshot
from mae.fault_tolerance.run_json import RunState
from mae.fault_tolerance.runner import TrainingRunner
from mae.fault_tolerance.signals import StopSignals
from mae.registry import LOOPS, RUNNERS, find
from mae.utils.allocator import keep_freed_memory
from mae.utils.distributed import Timeouts, init_distributed, on_main, require_visible_gpu
from mae.utils.errors import ConfigError, DataError
from mae.utils.hashing import derive
from mae.utils.precision import EvalPrecision, cost_of_float32, set_matmul_precision
from mae.utils.seeding import seed_generators
from mae.utils.sharded import gather, is_sharded, reshard
from mae.utils.versions import versions

if TYPE_CHECKING:

    class _Base(MMRunner, TrainingRunner):
        """mmengine's runner is untyped; what hooks use of it has the protocol's types."""
else:
    _Base = MMRunner


@RUNNERS.register_module()
class Runner(_Base):
    """Builds everything a config names and runs it.

    Differs from mmengine's in that processes start without a GPU too, the global batch is kept
    on any number of devices, checkpoints hold plain values and are written whole, and resuming
    works at any step. The last is so with `TrainLoop`; mmengine's loops, and loaders, optimizers
    and schedules for them, work as they do with mmengine's runner.

    Attributes:
        signals: received signals that stop the run; None if none are handled.
        run_state: writes `run.json`; None except in the first process of a run that has one.
        resumed_from: path of the checkpoint from which the run continues.
        started_from: what is known of the weights of `load_from`, empty if an older checkpoint did
            not say it; None if the run began with random weights.
        suggest_config: returns the name of a config whose model fits some weights, for error
            messages; None: they suggest no config.
        config_origin: returns the name of what the config inherits, and key, value there and value
            here wherever they differ, for the report; None: unknown.
    """

    _train_dataloader: Any
    _has_loaded: bool
    _has_weights = False
    _env_warning = ''
    _is_compiled = False
    _eval_batch_size = 0
    signals: StopSignals | None = None
    run_state: RunState | None = None
    resumed_from: str | None = None
    started_from: Mapping[str, str] | None = None
    suggest_config: Callable[[Mapping[str, Tensor]], str | None] | None = None
    config_origin: Callable[[], tuple[str, Sequence[Sequence[str]]]] | None = None

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'Runner':
        """Build a runner, also of a config that `load_config` has not read."""
        cfg = copy.deepcopy(cfg)
        fill_in_img_size(cfg)
        runner: Runner = super().from_cfg(cfg)
        return runner

    def train(self) -> nn.Module:
        """Train; hooks with `after_all(runner)` are called however the training ends."""
        try:
            model: nn.Module = super().train()
        finally:
            self.call_hook('after_all')
        return model

    @property
    def bare_model(self) -> Any:
        """The model without its wrapper for distributed training."""
        return getattr(self.model, 'module', self.model)

    @property
    def is_exact(self) -> bool:
        """Whether a `TrainLoop` trains: only then does a run resume exactly."""
        loop: Any = self._train_loop
        if isinstance(loop, Mapping):
            loop = find(LOOPS, loop.get('type'))
        return issubclass(loop if isclass(loop) else type(loop), TrainLoop)

    @cached_property
    def eval_precision(self) -> EvalPrecision:
        """The type in which evaluation computes, said in the log when it is first used."""
        found = EvalPrecision.of(self.cfg, get_device())
        if found.line:
            self.logger.info(found.line)
        return found

    @contextmanager
    def eval_context(self, batch_size: int) -> Iterator[None]:
        """For a forward pass of evaluation: its precision, and no compilation for a last batch.

        Args:
            batch_size: number of images; a batch smaller than the one before is the last of a
                loader.
        """
        is_rest, self._eval_batch_size = batch_size < self._eval_batch_size, batch_size
        compiled = without_recompiling(self._is_compiled and is_rest)
        with self.eval_precision.autocast(), compiled:
            yield
        if is_sharded(self.model):  # or a state dict would, where one process alone reads it
            reshard(self.model)

    @property
    def stop_signum(self) -> int:
        """The stop signal that this process has received, or 0."""
        return 0 if self.signals is None else self.signals.signum

    # --- environment and log --------------------------------------------------------------

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the process group, let mmengine do the rest, and on a CPU keep freed memory.

        Raises:
            ConfigError: the environment names a GPU that is not there, the config a precision
                that the GPU lacks or a CUDA graph where there is none, or the processes have
                different configs or versions.
        """
        require_visible_gpu()
        if self.cfg.get('cuda_graph'):
            require_gpu(distributed=self.distributed)
        if self.distributed and not mmengine.dist.is_distributed():
            limits = Timeouts.of(env_cfg.get('dist_cfg') or {})
            init_distributed(self.launcher, limits.start, Path(self.work_dir))
            check_started_alike(self.cfg.to_dict())
        if self.distributed:  # mmengine sets what is missing, with a warning of each process
            threads = os.environ.setdefault('OMP_NUM_THREADS', '1')
            os.environ.setdefault('MKL_NUM_THREADS', threads)
        super().setup_env(env_cfg)
        self._env_warning = set_matmul_precision(env_cfg.get('float32_matmul_precision'))
        if not torch.cuda.is_available():
            keep_freed_memory()

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed as mmengine does, after refusing a seed that numpy would not accept.

        With `deterministic` also ask cuBLAS for the same bits, unless the environment says how.
        """
        if seed is not None and not 0 <= seed < 2**32:
            raise ConfigError(f'randomness.seed must lie in 0..{2**32 - 1}, not {seed}')
        if deterministic:  # read at the first product, which some versions of torch refuse without
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        MMRunner.set_randomness(self, seed, diff_rank_seed, deterministic)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: object
    ) -> MMLogger:
        """mmengine's logger; what only the log file needs is not printed, such as its hooks."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_people)
        return logger

    def build_log_processor(self, log_processor: Any) -> MMLogProcessor:
        """Build ours, unless another `type` is given."""
        if isinstance(log_processor, Mapping) and 'type' not in log_processor:
            return LogProcessor(**log_processor)
        built: MMLogProcessor = super().build_log_processor(log_processor)
        return built

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Write one line to the log file where mmengine logs a hundred lines."""
        libraries = ', '.join(f'{name} {version}' for name, version in versions().items())
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
        line = f'{libraries}; seed {self.seed}; {self.world_size} x {device}'
        self.logger.info(line, extra={'file_only': True})
        if self._env_warning:
            self.logger.warning(self._env_warning)

    # --- the model ------------------------------------------------------------------------

    def build_model(self, model: object) -> nn.Module:
        """Build as mmengine does; an error of a part names its whole config key."""
        try:
            built: nn.Module = super().build_model(model)
        except ValueError as error:
            part = re.split('[.:]', str(error))[0]
            is_key = isinstance(model, Mapping) and part in model
            raise type(error)(f'model.{error}') if is_key else error from None
        return built

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> Any:
        """Wrap for distributed training as `parallel` of the config says.

        DDP with gradients that are views of the reduced buckets; on a CPU without the `device_ids`
        of mmengine. With FSDP2 the model stays what it is, and each process keeps its part of it.

        Raises:
            ConfigError: `parallel` has unknown keys or values, or does not go with the model; or
                batch norms of several processes on CPUs are to be synchronised.
        """
        parallel = Parallelism.of(self.cfg)
        for name in parallel.without_effect:
            self.logger.warning(f"parallel.{name} has no effect with parallel.type='ddp'")
        if parallel.type == 'fsdp':
            if self.distributed:
                return self._shard(model, parallel)
            self.logger.warning("parallel.type='fsdp' has no effect without a launcher")
        if not self.distributed and not is_model_wrapper(model):  # mmengine would log here
            return revert_sync_batchnorm(model.to(get_device()))
        _require_gpu_to_synchronise(model, self.cfg.get('sync_bn'), self.world_size)
        with warnings.catch_warnings():  # newer torch has another name for it, older not
            warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated', FutureWarning)
            is_wrapped = is_model_wrapper(model)
            if model_wrapper_cfg is not None or is_wrapped:
                return super().wrap_model(model_wrapper_cfg, model)
            options = {
                'broadcast_buffers': False,
                'find_unused_parameters': self.cfg.get('find_unused_parameters', False),
                'gradient_as_bucket_view': True,  # no second copy of the gradients
            }
            if torch.cuda.is_available():  # mmengine knows the device and `sync_bn`
                return super().wrap_model({'type': 'MMDistributedDataParallel', **options}, model)
            return MMDistributedDataParallel(module=model, **options)

    def _shard(self, model: nn.Module, parallel: Parallelism) -> nn.Module:
        check_shardable(model, parallel, self.cfg, self.world_size)
        self.model = model.to(get_device())
        self._init_model_weights()  # of whole tensors: the same on any number of processes
        sharded: nn.Module = shard(self.model, parallel)
        return sharded

    def _init_model_weights(self) -> None:
        """Initialise the weights from the seed alone, once, so that loaded weights stay."""
        if self._has_weights or not hasattr(self.bare_model, 'init_weights'):
            return
        self._has_weights = True
        seed_generators(derive(self.seed, -1))
        init_on_cpu(self.bare_model)
        for value in self.bare_model.state_dict().values():
            broadcast(value)

    def _maybe_compile(self, target: str) -> None:
        """Compile blocks, and target and loss of pixels; a model without blocks as mmengine does.

        Training on a GPU compiles them unless `compile=False`. With `cuda_graph` its steps are
        recorded, compiled or not.

        Raises:
            ConfigError: `compile` or `cuda_graph` cannot do that here.
            ValueError: the device lacks the attention backend that the model states.
        """
        trains = target == 'train_step'
        if hasattr(self.bare_model, 'check_attention'):
            precision: Any = self.optim_wrapper if trains else self.eval_precision
            dtype = getattr(precision, 'dtype', None) or torch.float32
            self.bare_model.check_attention(torch.device(get_device()), dtype)
        if trains and self.cfg.get('cuda_graph'):
            check_recordable(self)
            loop: Any = self.train_loop
            loop.graphed_step = GraphedStep(self.bare_model)
            self.logger.info('the first step is recorded as a CUDA graph, which the others replay')
        options = self.cfg.get('compile')
        if not hasattr(self.bare_model, 'blocks'):
            super()._maybe_compile(target)
            return
        if options is None:
            options = trains and torch.cuda.is_available()
        if not compile_blocks(compiled_parts(self.bare_model), options):
            return
        self._is_compiled = True
        self.logger.info(
            f'{len(self.bare_model.blocks())} blocks will be compiled in the first step, which '
            'takes longer for it; compile=False does without'
        )
        if trains:
            self.register_hook(CompileTimeHook())

    # --- the data and the loops -----------------------------------------------------------

    @property
    def global_batch_size(self) -> int | None:
        """Samples of an optimizer step over all processes; None: one micro-batch of each."""
        if (self.auto_scale_lr or {}).get('enable'):
            return None
        size: int | None = self.cfg.get('global_batch_size')
        return size

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader[Any] | Mapping[str, Any],
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader[Any]:
        """Build a data loader: with a batch sampler of this toolbox, or as mmengine does.

        Args:
            dataloader: its config; one that is built already is returned.
            diff_rank_seed: for samplers of mmengine; with ours each process takes its share of
                one common order.
        """
        if isinstance(dataloader, Mapping):
            dataloader = with_workers(dataloader)
            if has_own_sampler(dataloader):
                return build_data_loader(dataloader, seed or 0)
        loader: DataLoader[Any] = MMRunner.build_dataloader(dataloader, seed, diff_rank_seed)
        return loader

    def build_train_loop(self, loop: object) -> BaseLoop:
        """Build as mmengine does, with the global batch size set in the training sampler.

        Raises:
            ConfigError: the dataset has more classes than the model.
        """
        if isinstance(self._train_dataloader, Mapping):
            size = self.global_batch_size
            self._train_dataloader = with_global_batch(self._train_dataloader, size)
        self._build_own_loader('train_dataloader')
        self._train_loop = built = super().build_train_loop(loop)
        model = self.bare_model
        if hasattr(model, 'num_classes'):
            head = 'roi' if hasattr(model, 'roi') else 'head'
            check_num_classes(model.num_classes, built.dataloader.dataset, head)
        describe(self)
        announce(self)
        return built

    def build_val_loop(self, loop: object) -> BaseLoop:
        """Build as mmengine does; refuse to validate a classifier on other classes.

        Raises:
            ConfigError: the classes are not those of training.
            DataError: a validation map or annotation cannot be read, of a few that are tried.
        """
        self._build_own_loader('val_dataloader')
        built = super().build_val_loop(loop)
        if isinstance(self._train_loop, BaseLoop) and hasattr(self.bare_model, 'num_classes'):
            check_classes(self.train_dataloader.dataset, built.dataloader.dataset)
        if getattr(built.dataloader.dataset, 'has_targets', False):
            on_main(lambda: self._try_validation(built))
        return built

    def _try_validation(self, loop: Any) -> None:
        """Read a few samples with maps or objects now: the first validation may be hours away."""
        metrics = getattr(loop.evaluator, 'metrics', ())
        ignored = [m.ignore_index for m in metrics if hasattr(m, 'ignore_index')]
        labels = (self.bare_model.num_classes, ignored[0]) if ignored else None
        try:
            loop.dataloader.dataset.try_few(labels)
        except (ConfigError, DataError) as error:
            raise type(error)(f'val_dataloader: {error}') from None

    def build_test_loop(self, loop: object) -> BaseLoop:
        """Build as mmengine does, with a data loader of ours."""
        self._build_own_loader('test_dataloader')
        return super().build_test_loop(loop)

    def use_dataset(self, key: str, dataset: Any) -> None:
        """Train or validate on a dataset that was built before, as one of millions takes long.

        Args:
            key: 'train_dataloader' or 'val_dataloader', which must not be built yet.
            dataset: what its config describes.
        """
        config: Mapping[str, Any] = getattr(self, f'_{key}')
        setattr(self, f'_{key}', {**config, 'dataset': dataset})

    def use_test_dataloader(self, loader: DataLoader[Any]) -> None:
        """Test on a loader that was built before, as one of millions of images takes long."""
        self._test_dataloader = loader

    def _build_own_loader(self, key: str) -> None:
        """Build a data loader of ours before its loop would, so that errors name its config key."""
        config = getattr(self, f'_{key}')
        if not (isinstance(config, Mapping) and has_own_sampler(config)):
            return
        try:
            setattr(self, f'_{key}', self.build_dataloader(config, seed=self.seed))
        except (ConfigError, DataError) as error:
            raise type(error)(f'{key}: {error}') from None

    # --- the optimizer --------------------------------------------------------------------

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Derive the learning rate from the global batch, then build the optimizer.

        Raises:
            ConfigError: `TrainLoop` cannot step with it, for example with several optimizers.
        """
        base_lr = self.cfg.get('base_lr')
        if configures_one_optimizer(optim_wrapper) and (self.is_exact or base_lr is not None):
            sampler = getattr(self.train_dataloader, 'batch_sampler', None)
            optim_wrapper, line = with_rate(optim_wrapper, base_lr, sampler, self.world_size)
            if line:
                self.logger.info(line)
        elif base_lr is not None and isinstance(optim_wrapper, Mapping):
            self.logger.warning('base_lr has no effect: the optimizer has a learning rate already')
        built = super().build_optim_wrapper(optim_wrapper)
        if hasattr(built, 'amp') and (cost := cost_of_float32(built.amp)):
            self.logger.warning(cost)
        if self.is_exact and not hasattr(built, 'begin_step'):
            raise ConfigError(
                'optim_wrapper: TrainLoop steps one optimizer in a StepOptimWrapper, not in '
                f"{type(built).__name__}; take that, or mmengine's loop with "
                'train_cfg=dict(by_epoch=True, max_epochs=...)'
            )
        return built

    def scale_lr(self, optim_wrapper: object, auto_scale_lr: object = None) -> None:
        """Scale as mmengine does; nothing with `TrainLoop`, whose rate `with_rate` has scaled."""
        if not self.is_exact:
            super().scale_lr(optim_wrapper, auto_scale_lr)

    def _build_param_scheduler(
        self, scheduler: object, optim_wrapper: object
    ) -> list[_ParamScheduler]:
        """Build as mmengine does; with `TrainLoop` schedules are updated at each iteration.

        Raises:
            ConfigError: a warm-up in epochs of a run in steps, or the reverse.
        """
        if self.is_exact:
            in_steps = self.train_loop.max_steps is not None
            scheduler = at_each_step(scheduler, in_steps=in_steps)
        built: list[_ParamScheduler] = super()._build_param_scheduler(scheduler, optim_wrapper)
        return built

    # --- hooks ----------------------------------------------------------------------------

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register mmengine's hooks; with `TrainLoop` also ours, and none that sets an epoch."""
        chosen = default_hooks(
            hooks,
            is_exact=self.is_exact,
            trains=self._train_loop is not None,
            warn=self.logger.warning,
        )
        super().register_default_hooks(chosen)

    # --- checkpoints ----------------------------------------------------------------------

    def load_or_resume(self) -> None:
        """Load or resume what the config names, unless that is done already."""
        if not self._has_loaded:
            begin(self)
        self._has_loaded = True

    def load_checkpoint(
        self,
        filename: str,
        map_location: object = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """Load weights: all of them to test, only the encoder's to evaluate or train on features.

        Args:
            map_location: has no effect: weights go where the model's are.
            strict: refuse a file with missing or additional weights.
            revise_keys: (regular expression, replacement) applied to the names in the file; usual
                prefixes such as `module.` are known.

        Raises:
            CheckpointError: it cannot be read, or does not fit the model.
        """
        checkpoint = load(self, Path(filename), strict=strict, revise_keys=revise_keys)
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: object = 'default',
    ) -> None:
        """Continue a run of this config after the step of a checkpoint; see `start.resume`.

        Args:
            map_location: has no effect: the state goes where the run is.
        """
        resume(self, Path(filename), optimizer=resume_optimizer, schedules=resume_param_scheduler)
        self._has_loaded = True

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the samples and the task: seed, global batch, dataset, teacher."""
        return identity_of(self)

    def training_checkpoint(
        self, step: int, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The state of the run after `step` optimizer steps, with what hooks add to it.

        Its tensors are those of the run: the next step changes them.

        Args:
            meta: more about the run, as plain values.
        """
        checkpoint = training_state(self, step)
        checkpoint['meta'].update(meta or {})
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        return checkpoint

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: Mapping[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: Mapping[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint and wait for it: for mmengine's own hooks and scripts.

        Args:
            file_client_args: must be None, for other places than a disk.
            save_optimizer: without it the checkpoint cannot be resumed; nor without the schedules.
            meta: more about the run; `iter` in it counts as the optimizer steps done.
            by_epoch: whether an epoch has just ended, or else a step; for `iter` and `epoch` that
                `meta` does not hold.
            backend_args: must be None, as `file_client_args`.

        Raises:
            ConfigError: the checkpoint would go elsewhere than to a disk.
        """
        if file_client_args or backend_args:
            raise ConfigError(f'checkpoints go to a disk: {out_dir} cannot have backend_args')
        if not is_main_process() and not is_sharded(self.model):
            return
        checkpoint = mmengine_checkpoint(self, meta or {}, by_epoch=by_epoch)
        if not is_main_process():
            gather(checkpoint)
            return
        if is_sharded(self.model):
            checkpoint = Snapshot().take(checkpoint)
        if not save_optimizer:
            del checkpoint['optimizer']
        if not save_param_scheduler:
            del checkpoint['param_schedulers']
        save_checkpoint(checkpoint, Path(out_dir) / filename)


def _require_gpu_to_synchronise(model: nn.Module, sync_bn: str | None, world_size: int) -> None:
    """Refuse what torch has no kernels for: statistics of one process alone would be others."""
    if torch.cuda.is_available() or world_size == 1:
        return
    norms = {type(module) for module in model.modules() if isinstance(module, _BatchNorm)}
    if nn.SyncBatchNorm in norms or (norms and sync_bn is not None):
        raise ConfigError(
            f'sync_bn={sync_bn!r}: PyTorch synchronises batch norms on GPUs only; on '
            f'{world_size} CPU processes set sync_bn=None, each then has statistics of its own '
            'images, or train in one process'
        )


def _is_for_people(record: logging.LogRecord) -> bool:
    """Whether a line is for the terminal too: not mmengine's hundred lines on hooks."""
    is_list = str(record.msg).startswith('Hooks will be executed in the following order')
    return not is_list and not getattr(record, 'file_only', False)


def init_on_cpu(model: Any) -> None:
    """Start the weights of a model on the CPU, wherever it is, and copy them to its device.

    A GPU's generator gives other numbers than a CPU's, and `normal_` on it draws them in an order
    that depends on the number of its multiprocessors.
    """
    if all(value.device.type == 'cpu' for value in model.state_dict().values()):
        model.init_weights()
        return
    copies: dict[int, Tensor] = {}
    for value in (*model.parameters(), *model.buffers()):
        on_cpu = value.detach().to('cpu')
        is_trained = isinstance(value, nn.Parameter)
        copies[id(value)] = nn.Parameter(on_cpu, value.requires_grad) if is_trained else on_cpu
    twin = copy.deepcopy(model, copies)  # the same model, of these tensors
    twin.init_weights()
    found = twin.state_dict()
    for name, value in model.state_dict().items():
        value.copy_(found[name])
