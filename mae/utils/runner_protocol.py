"""What a hook may use of the runner; hooks are below the engine, so they cannot import it.

mmengine's runner carries no types, so without these protocols mypy would accept any name on it.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import _ParamScheduler
from mmengine.runner import LogProcessor
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

# For several optimizers their schedules by name.
Schedules = Sequence[_ParamScheduler] | Mapping[str, Sequence[_ParamScheduler]]


class Loader(Protocol):
    """A data loader: torch's, or the `StepLoader` of a `TrainLoop`, whose length counts steps."""

    dataset: Any
    batch_sampler: Any
    sampler: Any

    def __len__(self) -> int: ...


class RunnerProtocol(Protocol):
    """A runner with any loop.

    Attributes:
        model: perhaps wrapped for distributed training.
        resumed_from: path of the checkpoint from which the run continues.
        started_from: what is known of the weights of `load_from`, as plain values (see
            `mae.zoo.formats.training.start_of`), empty if an older checkpoint did not say it; None
            if the run began with random weights.
    """

    cfg: Config
    logger: logging.Logger
    message_hub: MessageHub
    visualizer: Visualizer
    log_processor: LogProcessor
    model: nn.Module
    param_schedulers: Schedules | None
    resumed_from: str | None
    started_from: Mapping[str, str] | None

    @property
    def iter(self) -> int: ...

    @property
    def epoch(self) -> int: ...

    @property
    def max_iters(self) -> int: ...

    @property
    def max_epochs(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    @property
    def distributed(self) -> bool: ...

    @property
    def work_dir(self) -> str: ...

    @property
    def log_dir(self) -> str: ...

    @property
    def experiment_name(self) -> str: ...

    @property
    def hooks(self) -> Sequence[Hook]: ...

    @property
    def train_dataloader(self) -> Loader: ...

    @property
    def val_dataloader(self) -> Loader: ...

    @property
    def bare_model(self) -> Any: ...

    def eval_context(self, batch_size: int) -> AbstractContextManager[None]: ...

    @property
    def is_exact(self) -> bool: ...

    @property
    def identity(self) -> dict[str, Any]: ...

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader[Any] | Mapping[str, Any],
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader[Any]: ...

    def call_hook(self, fn_name: str, **kwargs: object) -> None: ...

    def training_checkpoint(
        self, step: int, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any]: ...
